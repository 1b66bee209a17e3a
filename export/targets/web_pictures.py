"""The browser: a static page that makes pictures out of noise, and by a text, with LiteRT's web runtime."""
from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.delivery import drawing, snippets
from export.targets import web
from export.tflite import edit, phone, signatures
from export.tflite import file as tflite_file
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature, TensorInfo

with epy.lazy_imports():
    import jinja2
    from ai_edge_litert import schema_py_generated as schema

TEMPLATE = web.TEMPLATE.with_name("pictures.html.j2")
#: The modules beside the page.
MODULES = ("noise.js", "sampler.js", "pictures.js")
#: The one that cuts texts, beside the page of a model by text.
TOKENIZER = snippets.TEMPLATES / "text" / "tokenizer.js"
NOISE, TOKENS, INPUTS = "noise", "tokens", {"noise", "step", "condition"}
#: Types that files for the page may have; int8 becomes uint8, since the runtime has no int8.
TYPES = {"float32", "uint8", "int8"}


def makes_pictures(signature: FileSignature) -> bool:
    """Return whether a file takes noise, as those that make pictures do."""
    return NOISE in signature.inputs


def asked(name: str, content: bytes) -> dict[str, FileSignature]:
    """Return the signatures of a file that the page asks, by name: those of its parts where it takes a text. Raises
    ValueError where the page cannot ask it, or the web runtime does not read its types."""
    main = signatures.main(content)
    if TOKENS in main.inputs:
        result = drawing.asked_by_text(content)
    elif set(main.inputs) <= INPUTS and len(main.output.shape) == 4:
        result = {main.name: main}
    else:
        raise ValueError(f"the page makes pictures of noise, a step and a class, and {name} takes "
                         f"{', '.join(main.inputs)} and gives {main.output.name} {main.output.shape}")
    types = {info.dtype for signature in result.values() for info in (*signature.inputs.values(), signature.output)
             if info.name != TOKENS}
    if not types <= TYPES:
        raise ValueError(f"{name} takes and gives {', '.join(sorted(types))}; the page makes pictures of float32 and "
                         "of 8-bit integers only: take float32, float16, dynamic or int8")
    return result


def write(folder: Path, about: Description, files: Mapping[str, bytes], models: Mapping[str, bytes]) -> Path:
    """Write the page, the runtime and the models into a folder that exists.

    Args:
        about: what the model says of itself.
        files: what a bundle has beside its models: how pictures are made, and how a text is cut.
        models: name to a TFLite file, from noise to a picture or to what a diffusion's network says.

    Returns:
        The page. It is served as it is: `python -m http.server` in the bundle is enough.

    Raises:
        ValueError: the runtime cannot be fetched, or a file takes or gives what the page does not know.
    """
    sampler = json.loads(files[drawing.SAMPLER])
    if sampler["kind"] == drawing.CODES:
        raise ValueError("the page makes pictures of noise in one step, or step by step, and this model draws codes "
                         "first; leave web out")
    described = []
    for name, content in models.items():
        asked(name, content)
        taken = with_unsigned(content)
        (folder / f"{name}.tflite").write_bytes(taken)
        known = asked(name, taken)
        described.append({"name": name, "file": f"{name}.tflite", "signatures": {
            one: {"inputs": {port: info.model_dump(include=web.END) for port, info in signature.inputs.items()},
                  "output": signature.output.model_dump(include=web.END)} for one, signature in known.items()}})
    *_, last = known.values()
    _, height, width, channels = last.output.shape
    shutil.copytree(web.runtime(), folder / "litert")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
                                     trim_blocks=True, lstrip_blocks=True)
    page = folder / "index.html"
    page.write_text(environment.from_string(TEMPLATE.read_text()).render(
        about=about, labels=about.labels, models=described, sampler=sampler, height=height, width=width,
        channels=channels, by_text=sampler["kind"] == drawing.IN_PARTS))
    for name in MODULES:
        shutil.copy(TEMPLATE.with_name(name), folder / name)
    if sampler["kind"] == drawing.IN_PARTS:
        shutil.copy(TOKENIZER, folder / TOKENIZER.name)
        (folder / drawing.TOKENIZER).write_bytes(files[drawing.TOKENIZER])
    return page


def with_unsigned(content: bytes) -> bytes:
    """Return the same model, which takes and gives uint8 where it took and gave int8, of the same values, whichever of
    its signatures is asked."""
    model = tflite_file.read(content)
    for signature in signatures.of(content).values():
        for info in signature.inputs.values():
            if info.dtype == "int8":
                _take_unsigned(model, signature.subgraph, info)
        for info in signature.outputs.values():
            if info.dtype == "int8":
                phone.give_unsigned(model, signature.subgraph, info.index, info.scale, info.zero + 128)
    return tflite_file.write(model)


def _take_unsigned(model: Any, subgraph: int, info: TensorInfo) -> None:
    """Put a uint8 tensor before an int8 one that a graph takes, in place."""
    graph = model.subgraphs[subgraph]
    outer = copy.copy(graph.tensors[info.index])
    outer.type, outer.quantization = schema.TensorType.UINT8, copy.copy(outer.quantization)
    outer.quantization.zeroPoint = [info.zero + 128]
    graph.tensors[info.index].name += b"/int8"
    graph.tensors.append(outer)
    index = len(graph.tensors) - 1
    graph.operators = [edit.operator_of(model, "QUANTIZE", "Quantize", [index], info.index), *graph.operators]
    graph.inputs = [index if int(one) == info.index else int(one) for one in graph.inputs]
    edit.point_signatures(model, info.index, index, subgraph)
