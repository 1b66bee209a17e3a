"""`litepress inspect`: what is in a model, and which of its operators run where."""
from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from etils import epy
from pydantic import BaseModel

from export.artifacts import Coverage
from export.conversion import convert
from export.keras_models import file as keras_file
from export.keras_models import imported
from export.targets import ethos_u, microcontroller, replacements, tools
from export.tflite import file as tflite_file
from export.tflite import gpu_coverage, inspection
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np

#: The NPUs of the table: one of each generation.
NPUS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
#: Random pictures that ranges are found with where only the operators matter.
PICTURES = 8


class Column(BaseModel):
    """A target in the table.

    Args:
        refused: why it takes nothing; empty where it takes something.
        coverage: how much it takes.
    """

    name: str
    refused: str = ""
    coverage: Coverage | None = None


class Looked(BaseModel):
    """A model that was looked into, and the targets that were tried on its file, float or integer as each takes it."""

    float32: inspection.Inspection | None = None
    int8: inspection.Inspection | None = None
    columns: list[Column] = []

    @property
    def main(self) -> inspection.Inspection:
        found = self.float32 or self.int8
        assert found is not None
        return found


def look(path: Path) -> Looked:
    """Looks into a .tflite, .keras or .h5 file or a SavedModel folder. A float model is made integer too, on random pictures, to see which
    operators an integer NPU would take.

    Raises:
        UserError: it cannot be read.
    """
    try:
        exact, rounded = _files(path)
        found = Looked(float32=inspection.inspect(exact) if exact else None, int8=inspection.inspect(rounded) if rounded else None)
    except ValueError as error:
        said = str(error)
        raise UserError(f"inspect: {said if str(path) in said else f'{path}: {said}'}") from error
    if exact is not None:
        found.columns.append(_tried("GPU", lambda: gpu_coverage.coverage(exact)))
    if rounded is not None:
        if not tools.missing("ethos-u"):
            found.columns += [_tried(name, lambda own=name: ethos_coverage(rounded, own)) for name in NPUS]  # type: ignore[misc]
        if not tools.missing("microcontroller"):
            found.columns.append(_tried("TFLite Micro", lambda: _micro_coverage(rounded)))
    return found


def _files(path: Path) -> tuple[bytes | None, bytes | None]:
    """A model as a float and as an integer TFLite file, as far as it can be had."""
    if path.suffix == ".tflite":
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        content = path.read_bytes()
        return (content, None) if tflite_file.float_tensors(content) else (None, content)
    if not path.exists():
        raise ValueError(f"there is no model {path}")
    if imported.is_keras(path):
        model = keras_file.load(path) if path.suffix == ".keras" else imported.load(path)
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "graph"
            convert.float_graph(model, graph)
            return convert.convert(graph, "float32"), _rounded(graph, model.input_shape[1:])
    if (path / "saved_model.pb").exists():
        return imported.to_tflite(path), None
    raise ValueError(f"{path} is no model: give a .tflite, .keras or .h5 file, or a SavedModel folder")


def _rounded(graph: Path, shape: tuple[int, ...]) -> bytes | None:
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, *shape)).astype("uint8")
    try:
        return convert.convert(graph, "int8", pictures)
    except Exception:  # what an integer NPU needs cannot be made of it; the float side is shown alone
        return None


def ethos_coverage(content: bytes, accelerator: str) -> Coverage:
    """How much of an integer file an Ethos-U takes. Raises ValueError where that is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        source.write_bytes(content)
        return ethos_u.compile_file(source, Path(folder) / "compiled.tflite", accelerator=accelerator).coverage  # type: ignore[arg-type]


def _micro_coverage(content: bytes) -> Coverage:
    microcontroller.arena_bytes(content)
    total = sum(tflite_file.operators(content).values())
    return Coverage(accelerator="TensorFlow Lite Micro", taken=total, total=total)


def _tried(name: str, try_it: Callable[[], Coverage]) -> Column:
    try:
        return Column(name=name, coverage=try_it())
    except ValueError as error:
        return Column(name=name, refused=str(error))


def lines(looked: Looked, tensors: bool = False) -> list[str]:
    """What was found, for a terminal."""
    main, told = looked.main, []
    for name, ends in main.signatures.items():
        told.append(f"signature   {name}")
        for word, side in (("takes", "inputs"), ("gives", "outputs")):
            told += [f"            {word} {own}: {tensor}" for own, tensor in ends[side].items()]
    both = f", {looked.int8.bytes:,} as int8" if looked.float32 and looked.int8 else ""
    told += [f"size        {main.bytes:,} bytes{both}; {main.weights:,} weights; {main.multiply_adds / 1e6:,.2f} M multiply-adds",
             f"memory      {main.arena_bytes:,} bytes of tensors at {main.peak}" + (
                 f"; {looked.int8.arena_bytes:,} as int8" if looked.float32 and looked.int8 else "")]
    if main.minimum_runtime:
        told.append(f"runtime     TensorFlow Lite {main.minimum_runtime} or later")
    if (about := main.about) is not None:
        said = "; ".join(f"{name} {value}" for name, value in (("version", about.version), ("author", about.author),
                                                               ("license", about.license)) if value)
        told.append(f"metadata    {about.name}: {about.description or 'no description'}{f'; {said}' if said else ''}; {len(about.labels)} "
                    f"labels{', calibrated scores' if about.calibration else ''}")
    else:
        told.append("metadata    none")
    quantized = [tensor for tensor in main.tensors if tensor.scales]
    by_channel = sum(tensor.scales > 1 for tensor in quantized)
    told.append(f"quantized   {len(quantized)} of {len(main.tensors)} tensors, {by_channel} of them with a scale per channel")
    told += ["", *_table(looked)]
    for column in looked.columns:
        if column.refused:
            told.append(f"{column.name}: {column.refused}")
        elif column.coverage is not None:
            told += [f"{column.name}: {line}" for line in replacements.advice(column.coverage)]
    if tensors:
        told += ["", *(f"{number:>4}  {'constant' if tensor.constant else 'computed'}  {inspection.describe(tensor):<48}  {tensor.name}"
                       for number, tensor in enumerate(main.tensors))]
    return told


def _table(looked: Looked) -> list[str]:
    """Target by operator: runs, falls back, or refused."""
    kinds = {**(looked.float32.operators if looked.float32 else {}), **(looked.int8.operators if looked.int8 else {})}
    width = max(len(kind) for kind in kinds)
    rows = [f"{'operator':<{width}}  {'count':>5}  {'CPU':<8}" + "".join(f"  {column.name:<14}" for column in looked.columns)]
    for kind, count in kinds.items():
        cells = []
        for column in looked.columns:
            file = looked.float32 if column.name == "GPU" else looked.int8
            if file is None or kind not in file.operators:
                cells.append("–")
            elif column.coverage is None:
                cells.append("refused")
            else:
                left = sum(one.operator == kind for one in column.coverage.left)
                cells.append("runs" if not left else "falls back" if left >= file.operators[kind] else f"{left} fall back")
        rows.append(f"{kind:<{width}}  {count:>5}  {'runs':<8}" + "".join(f"  {cell:<14}" for cell in cells))
    total = [f"{column.coverage.share:.0%}" if column.coverage else "refused" for column in looked.columns]
    rows.append(f"{'all':<{width}}  {sum(kinds.values()):>5}  {'100%':<8}" + "".join(f"  {cell:<14}" for cell in total))
    return [row.rstrip() for row in rows]
