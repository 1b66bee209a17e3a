"""The browser: a static page that makes pictures out of noise with LiteRT's web runtime."""
from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.delivery.drawing import CODES
from export.targets import web
from export.tflite import edit, phone, signatures
from export.tflite import file as tflite_file
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

with epy.lazy_imports():
    import jinja2
    from ai_edge_litert import schema_py_generated as schema

TEMPLATE = web.TEMPLATE.with_name("pictures.html.j2")
#: The modules beside the page.
MODULES = ("noise.js", "sampler.js", "pictures.js")
NOISE, INPUTS = "noise", {"noise", "step", "condition"}
#: Types that files for the page may have; int8 becomes uint8, since the runtime has no int8.
TYPES = {"float32", "uint8", "int8"}


def makes_pictures(signature: FileSignature) -> bool:
    """Return whether a file takes noise, as those that make pictures do."""
    return NOISE in signature.inputs


def check(name: str, signature: FileSignature) -> None:
    """Raise ValueError where the page cannot ask a file, or the web runtime does not read its types."""
    output = signature.output
    if not set(signature.inputs) <= INPUTS or len(output.shape) != 4:
        raise ValueError(f"the page makes pictures of noise, a step and a class, and {name} takes "
                         f"{', '.join(signature.inputs)} and gives {output.name} {output.shape}")
    types = {info.dtype for info in (*signature.inputs.values(), output)}
    if not types <= TYPES:
        raise ValueError(f"{name} takes and gives {', '.join(sorted(types))}; the page makes pictures of float32 and "
                         "of 8-bit integers only: take float32, float16, dynamic or int8")


def write(folder: Path, about: Description, sampler: Mapping[str, Any], models: Mapping[str, bytes]) -> Path:
    """Write the page, the runtime and the models into a folder that exists.

    Args:
        about: what the model says of itself.
        sampler: how pictures are made, as a bundle's sampler.json has it.
        models: name to a TFLite file, from noise to a picture or to what a diffusion's network says.

    Returns:
        The page. It is served as it is: `python -m http.server` in the bundle is enough.

    Raises:
        ValueError: the runtime cannot be fetched, or a file takes or gives what the page does not know.
    """
    if sampler["kind"] == CODES:
        raise ValueError("the page makes pictures of noise in one step, or step by step, and this model draws codes "
                         "first; leave web out")
    described = []
    for name, content in models.items():
        check(name, signatures.main(content))
        taken = with_unsigned_inputs(phone.with_unsigned_output(content))
        (folder / f"{name}.tflite").write_bytes(taken)
        signature = signatures.main(taken)
        inputs = {one: info.model_dump(include=web.END) for one, info in signature.inputs.items()}
        described.append({"name": name, "file": f"{name}.tflite", "inputs": inputs,
                          "output": signature.output.model_dump(include=web.END)})
    _, height, width, channels = signature.output.shape
    shutil.copytree(web.runtime(), folder / "litert")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    page = folder / "index.html"
    page.write_text(environment.from_string(TEMPLATE.read_text()).render(
        about=about, labels=about.labels, models=described, sampler=dict(sampler), height=height, width=width,
        channels=channels))
    for name in MODULES:
        shutil.copy(TEMPLATE.with_name(name), folder / name)
    return page


def with_unsigned_inputs(content: bytes) -> bytes:
    """Return the same model, which takes uint8 where it took int8, of the same values."""
    model = tflite_file.read(content)
    main = signatures.main(content)
    graph = model.subgraphs[main.subgraph]
    for info in main.inputs.values():
        if info.dtype != "int8":
            continue
        outer = copy.copy(graph.tensors[info.index])
        outer.type, outer.quantization = schema.TensorType.UINT8, copy.copy(outer.quantization)
        outer.quantization.zeroPoint = [info.zero + 128]
        graph.tensors[info.index].name += b"/int8"
        graph.tensors.append(outer)
        index = len(graph.tensors) - 1
        graph.operators = [edit.operator_of(model, "QUANTIZE", "Quantize", [index], info.index), *graph.operators]
        graph.inputs = [index if int(one) == info.index else int(one) for one in graph.inputs]
        edit.point_signatures(model, info.index, index, main.subgraph)
    return tflite_file.write(model)
