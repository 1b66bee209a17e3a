"""The browser: a static page that runs a TFLite file with LiteRT's web runtime."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from etils import epy

from export.delivery import for_task
from export.errors import first_line
from export.tflite import signatures
from export.tflite.detection import LOCATION, SCORE
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature
from export.whole import whole

with epy.lazy_imports():
    import jinja2

VERSION = "2.5.3"
#: The packages of the runtime on the npm registry, with the SHA-256 of their archives.
PACKAGES = {"@litertjs/core": "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
            "@litertjs/wasm-utils": "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7"}
#: What the page needs of them: path in the archive to path beside the page. One build is for browsers with relaxed
#: SIMD, one for others.
FILES = {"@litertjs/core": {"dist/index.js": "core.js", **{
             f"wasm/{name}": f"wasm/{name}" for build in ("litert_wasm_internal", "litert_wasm_compat_internal")
             for name in (f"{build}.js", f"{build}.wasm")}},
         "@litertjs/wasm-utils": {"dist/index.js": "wasm-utils.js"}}
#: What the page knows of a tensor.
END = {"name", "shape", "dtype", "scale", "zero"}
TEMPLATE = Path(__file__).parent.parent / "templates" / "web" / "index.html.j2"
#: The module beside the page that makes answers of a model's numbers.
ANSWERS = "answers.js"
Kind = Literal["classes", "mask", "boxes"]
#: A file's outputs and how many axes each has, to what the page shows of them.
KINDS: dict[tuple[tuple[str, int], ...], Kind] = {
    (("logits", 2),): "classes", (("logits", 4),): "mask", ((LOCATION, 3), (SCORE, 3)): "boxes"}


def missing() -> str:
    """Return what to install; an empty text where the runtime is here, or npm to fetch it with."""
    if _cached().is_dir() or shutil.which("npm"):
        return ""
    return (f"npm is not installed; install Node.js, with which LiteRT's web runtime @litertjs/core {VERSION} is "
            "fetched once")


def write(folder: Path, about: Description, models: Mapping[str, bytes]) -> Path:
    """Write the page, the runtime and the models into a folder that exists. The page shows the classes of one image,
    its mask, or the boxes in it.

    Args:
        about: what the model says of itself.
        models: name to a TFLite file, from one image to `logits` of its classes, to `logits` of each pixel's, or to
            boxes as `export.tflite.detection.DECODED` has them; all of them float32 or uint8.

    Returns:
        The page. It is served as it is: `python -m http.server` in the bundle is enough.

    Raises:
        ValueError: the runtime cannot be fetched, or a file takes or gives what the page does not know.
    """
    signed = {name: signatures.main(content) for name, content in models.items()}
    kinds = {kind_of(name, signature, about) for name, signature in signed.items()}
    for name, content in models.items():
        (folder / f"{name}.tflite").write_bytes(content)
    described = [{"name": name, "file": f"{name}.tflite", "input": signature.input.model_dump(include=END),
                  "outputs": {one: info.model_dump(include=END) for one, info in signature.outputs.items()}}
                 for name, signature in signed.items()]
    _, height, width, channels = next(iter(signed.values())).input.shape
    shutil.copytree(runtime(), folder / "litert")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    page = folder / "index.html"
    kind = kinds.pop()
    shown: dict[str, Any] = {"labels": about.labels, "colors": for_task.COLORS, "decoding": None}
    if kind == "mask":
        shown |= {"labels": for_task.class_names(about.labels), "colors": for_task.class_colors(about.labels)}
    if about.decoding is not None:
        shown["decoding"] = about.decoding.model_dump(include={"iou", "most", "threshold"})
    page.write_text(environment.from_string(TEMPLATE.read_text()).render(
        about=about, kind=kind, models=described, height=height, width=width, channels=channels, **shown))
    shutil.copy(TEMPLATE.with_name(ANSWERS), folder / ANSWERS)
    return page


def runtime() -> Path:
    """Return the folder with the web runtime, which is fetched from the npm registry the first time.

    Raises:
        ValueError: it cannot be fetched, or is not what it should be.
    """
    cached = _cached()
    if cached.is_dir():
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as scratch, whole(cached) as folder:
            for package, files in FILES.items():
                _unpack(_fetched(package, Path(scratch)), files, folder)
    except OSError:
        if not cached.is_dir():  # another run may have been faster
            raise
    return cached


def kind_of(name: str, signature: FileSignature, about: Description) -> Kind:
    """Return what the page shows of a file's answers. Raises ValueError where it shows none of them, or the web runtime
    does not read their types."""
    image = signature.input
    shapes = {one: len(info.shape) for one, info in signature.outputs.items()}
    kind = KINDS.get(tuple(sorted(shapes.items())))
    if kind is None or about.tensor(image).role != "image" or len(image.shape) != 4 or not about.labels:
        given = ", ".join(f"{one} {info.shape}" for one, info in signature.outputs.items())
        raise ValueError(f"the page shows classes, masks and boxes of images, and {name} takes {image.name} "
                         f"{image.shape} and gives {given}" + ("" if about.labels else ", without labels"))
    types = {info.dtype for info in signature.outputs.values()}
    if not {image.dtype, *types} <= {"float32", "uint8"}:
        raise ValueError(f"{name} takes {image.dtype} and gives {', '.join(sorted(types))}; the web runtime reads "
                         "float32 and uint8 only")
    return kind


def _cached() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litepress" / f"litertjs-{VERSION}"


def _fetched(package: str, folder: Path) -> Path:
    try:
        done = subprocess.run(["npm", "pack", "--silent", f"{package}@{VERSION}"], cwd=folder, capture_output=True,
                              text=True, timeout=300)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{package} {VERSION} cannot be fetched: {missing() or error}") from error
    if done.returncode:
        reason = first_line(done.stderr)[:200] or "it does not say why"
        raise ValueError(f"npm cannot fetch {package} {VERSION}: {reason}")
    archive = folder / done.stdout.split()[-1]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != PACKAGES[package]:
        raise ValueError(f"{package} {VERSION} as npm fetched it is not the archive that this version of litepress "
                         f"knows: {digest[:16]}…")
    return archive


def _unpack(archive: Path, files: Mapping[str, str], target: Path) -> None:
    with tarfile.open(archive) as packed:
        for inside, outside in files.items():
            member = packed.extractfile(f"package/{inside}")
            assert member is not None
            path = target / outside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.read())
