"""The browser: a static page that makes pictures out of noise with LiteRT's web runtime."""
from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epy

from export.targets import web
from export.tflite import signatures
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

with epy.lazy_imports():
    import jinja2

TEMPLATE = web.TEMPLATE.with_name("pictures.html.j2")
#: The modules beside the page.
MODULES = ("noise.js", "sampler.js", "pictures.js")
NOISE, INPUTS = "noise", {"noise", "step", "condition"}


def makes_pictures(signature: FileSignature) -> bool:
    """Return whether a file takes noise, as those that make pictures do."""
    return NOISE in signature.inputs


def check(name: str, signature: FileSignature) -> None:
    """Raise ValueError where the page cannot ask a file, or the web runtime does not read its types."""
    output = signature.output
    if not set(signature.inputs) <= INPUTS or len(output.shape) != 4:
        raise ValueError(f"the page makes pictures of noise, a step and a class, and {name} takes "
                         f"{', '.join(signature.inputs)} and gives {output.name} {output.shape}")
    types = {info.dtype for info in signature.inputs.values()} | {output.dtype}
    if types != {"float32"}:
        raise ValueError(f"{name} takes and gives {', '.join(sorted(types))}; the page makes pictures of float32 only: "
                         "take float32, float16 or dynamic")


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
    described = []
    for name, content in models.items():
        signature = signatures.main(content)
        check(name, signature)
        (folder / f"{name}.tflite").write_bytes(content)
        shapes = {one: info.shape for one, info in signature.inputs.items()}
        described.append({"name": name, "file": f"{name}.tflite", "shapes": shapes, "output": signature.output.name})
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
