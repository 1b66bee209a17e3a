"""`litepress inspect`: what is in a model, and which of its operators run where."""
from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from export.artifacts import Coverage
from export.conversion import convert
from export.keras_models import as_graph, graph, other_files
from export.signature import Function
from export.targets import ethos_u, microcontroller, replacements, tools
from export.tflite import file as tflite_file
from export.tflite import gpu_coverage, inspection, metadata
from pipelines.errors import UserError

#: The NPUs of the table: one of each generation.
NPUS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
#: Random examples that ranges are found with where only the operators matter.
EXAMPLES = 8


class Column(BaseModel):
    """A target in the table.

    Args:
        refused: why it takes nothing; empty where it takes something.
        coverage: how much it takes.
    """

    name: str
    refused: str = ""
    coverage: Coverage | None = None


class Inspected(BaseModel):
    """A model that was looked into, and the targets that were tried on its file, float or integer as each takes it."""

    float32: inspection.Inspection | None = None
    int8: inspection.Inspection | None = None
    columns: list[Column] = []

    @property
    def main(self) -> inspection.Inspection:
        result = self.float32 or self.int8
        assert result is not None
        return result


def look(path: Path) -> Inspected:
    """Look into a .tflite, .keras, .h5 or .pb file or a SavedModel folder.

    A float model is made integer too, on random examples, to see which operators an integer NPU would take.

    Raises:
        UserError: it cannot be read.
    """
    try:
        exact, rounded = _files(path)
        result = Inspected()
        if exact is not None:
            result.float32 = inspection.inspect(exact)
        if rounded is not None:
            result.int8 = inspection.inspect(rounded)
    except ValueError as error:
        message = str(error)
        raise UserError(f"inspect: {message if str(path) in message else f'{path}: {message}'}") from error
    if exact is not None:
        result.columns.append(_tried("GPU", functools.partial(gpu_coverage.coverage, exact)))
    if rounded is not None:
        if not tools.missing("ethos-u"):
            result.columns += [_tried(name, functools.partial(ethos_coverage, rounded, name)) for name in NPUS]
        if not tools.missing("microcontroller"):
            result.columns.append(_tried("TFLite Micro", functools.partial(_micro_coverage, rounded)))
    return result


def functions_of(model: Any) -> Sequence[Function]:
    """Return the one signature that a Keras model alone has: its inputs and outputs by name."""
    return [graph.function(model, graph.signature_of(model))]


def _files(path: Path) -> tuple[bytes | None, bytes | None]:
    """Return a model as a float and as an integer TFLite file; None for what cannot be had."""
    if path.suffix == ".tflite":
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        other_files.check(path)
        content = path.read_bytes()
        return (content, None) if tflite_file.float_tensors(content) else (None, content)
    model, _ = as_graph.layer_by_layer(path) if path.exists() else (None, "")
    if model is not None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "graph"
            convert.float_graph(model, functions_of, folder)
            return convert.convert(folder, "float32"), _rounded(model, folder)
    return as_graph.as_named_tflite(path, as_graph.signature_of(path).inputs), None


def _rounded(model: Any, folder: Path) -> bytes | None:
    signature = graph.signature_of(model)
    try:
        return convert.convert(folder, "int8", [(signature.name, signature.example(EXAMPLES))])
    except Exception:  # what an integer NPU needs cannot be made of it; the float side is shown alone
        return None


def ethos_coverage(content: bytes, accelerator: str) -> Coverage:
    """Return how much of an integer file an Ethos-U takes. Raises ValueError where that is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.tflite", Path(folder) / "compiled.tflite"
        source.write_bytes(content)
        return ethos_u.compile_file(source, target, accelerator=accelerator).coverage  # type: ignore[arg-type]


def _micro_coverage(content: bytes) -> Coverage:
    microcontroller.arena_bytes(content)
    total = sum(tflite_file.operators(content).values())
    return Coverage(accelerator="TensorFlow Lite Micro", taken=total, total=total)


def _tried(name: str, cover: Callable[[], Coverage]) -> Column:
    try:
        return Column(name=name, coverage=cover())
    except ValueError as error:
        return Column(name=name, refused=str(error))


def lines(inspected: Inspected, tensors: bool = False) -> list[str]:
    """Return what was found, for a terminal.

    Args:
        tensors: list every tensor, too.
    """
    main = inspected.main
    output = [*_signatures(main), *_sizes(inspected), _metadata(main.about), _quantized(main), "", *_table(inspected)]
    for column in inspected.columns:
        output += _advice(column)
    if tensors:
        output += ["", *_tensors(main)]
    return output


def _signatures(main: inspection.Inspection) -> list[str]:
    output = []
    for name, sides in main.signatures.items():
        output.append(f"signature   {name}")
        output += [f"            takes {tensor}: {shown}" for tensor, shown in sides["inputs"].items()]
        output += [f"            gives {tensor}: {shown}" for tensor, shown in sides["outputs"].items()]
    return output


def _sizes(inspected: Inspected) -> list[str]:
    main = inspected.main
    size = f"{main.bytes:,} bytes"
    memory = f"{main.arena_bytes:,} bytes of tensors at {main.peak}"
    if inspected.float32 and inspected.int8:
        size += f", {inspected.int8.bytes:,} as int8"
        memory += f"; {inspected.int8.arena_bytes:,} as int8"
    multiply_adds = f"{main.multiply_adds / 1e6:,.2f} M multiply-adds"
    output = [f"size        {size}; {main.weights:,} weights; {multiply_adds}", f"memory      {memory}"]
    if main.minimum_runtime:
        output.append(f"runtime     TensorFlow Lite {main.minimum_runtime} or later")
    return output


def _metadata(about: metadata.Description | None) -> str:
    if about is None:
        return "metadata    none"
    fields = {"version": about.version, "author": about.author, "license": about.license}
    facts = [f"{name} {value}" for name, value in fields.items() if value]
    if about.labels:
        facts.append(f"{len(about.labels)} labels{', calibrated scores' if about.calibration else ''}")
    return "; ".join([f"metadata    {about.name}: {about.description or 'no description'}", *facts])


def _quantized(main: inspection.Inspection) -> str:
    scales = [tensor.scales for tensor in main.tensors if tensor.scales]
    by_channel = sum(count > 1 for count in scales)
    return f"quantized   {len(scales)} of {len(main.tensors)} tensors, {by_channel} of them with a scale per channel"


def _advice(column: Column) -> list[str]:
    if column.coverage is None:
        return [f"{column.name}: {column.refused}"] if column.refused else []
    return [f"{column.name}: {line}" for line in replacements.advice(column.coverage)]


def _tensors(main: inspection.Inspection) -> list[str]:
    output = []
    for number, tensor in enumerate(main.tensors):
        kind = "constant" if tensor.constant else "computed"
        output.append(f"{number:>4}  {kind}  {inspection.describe(tensor):<48}  {tensor.name}")
    return output


def _table(inspected: Inspected) -> list[str]:
    """Return the table of target by operator: runs, falls back, or refused."""
    kinds: dict[str, int] = {}
    for file in (inspected.float32, inspected.int8):
        kinds |= file.operators if file is not None else {}
    width = max(map(len, kinds))

    def row(kind: str, count: str, cpu: str, cells: Sequence[str]) -> str:
        return f"{kind:<{width}}  {count:>5}  {cpu:<8}{''.join(f'  {cell:<14}' for cell in cells)}".rstrip()

    columns = inspected.columns
    rows = [row("operator", "count", "CPU", [column.name for column in columns])]
    for kind, count in kinds.items():
        rows.append(row(kind, str(count), "runs", [_cell(inspected, column, kind) for column in columns]))
    shares = [f"{column.coverage.share:.0%}" if column.coverage is not None else "refused" for column in columns]
    return [*rows, row("all", str(sum(kinds.values())), "100%", shares)]


def _cell(inspected: Inspected, column: Column, kind: str) -> str:
    """Return what a target does with the operators of a kind."""
    file = inspected.float32 if column.name == "GPU" else inspected.int8
    if file is None or kind not in file.operators:
        return "–"
    if column.coverage is None:
        return "refused"
    unsupported = sum(one.operator == kind for one in column.coverage.left)
    if not unsupported:
        return "runs"
    return "falls back" if unsupported >= file.operators[kind] else f"{unsupported} fall back"
