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

from etils import epy

from export.tflite import signatures
from export.tflite.metadata import Description

with epy.lazy_imports():
    import jinja2

VERSION = "2.5.3"
#: The packages of the runtime on the npm registry, with the SHA-256 of their archives.
PACKAGES = {"@litertjs/core": "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
            "@litertjs/wasm-utils": "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7"}
#: What the page needs of them: place in the archive to place beside the page. One build is for browsers with relaxed SIMD, one for others.
FILES = {"@litertjs/core": {"dist/index.js": "core.js", **{
             f"wasm/{name}": f"wasm/{name}" for build in ("litert_wasm_internal", "litert_wasm_compat_internal")
             for name in (f"{build}.js", f"{build}.wasm")}},
         "@litertjs/wasm-utils": {"dist/index.js": "wasm-utils.js"}}
TEMPLATE = Path(__file__).parent.parent / "templates" / "web" / "index.html.j2"


def missing() -> str:
    """What to install; empty where the runtime is here, or npm to fetch it with."""
    if _kept().is_dir() or shutil.which("npm"):
        return ""
    return f"npm is not installed; install Node.js, with which LiteRT's web runtime @litertjs/core {VERSION} is fetched once"


def write(folder: Path, about: Description, models: Mapping[str, bytes]) -> Path:
    """Writes the page, the runtime and the models into a folder that exists.

    Args:
        about: what the model says of itself.
        models: name to a TFLite file of float32 or uint8 ends.

    Returns:
        The page. It is served as it lies there: `python -m http.server` in the bundle is enough.

    Raises:
        ValueError: the runtime cannot be fetched, or a file has ends that it does not read.
    """
    known, shape = [], (1, 1, 1, 3)
    for name, content in models.items():
        found = signatures.of(content)
        if not {found.input.dtype, found.output.dtype} <= {"float32", "uint8"}:
            raise ValueError(f"{name} takes {found.input.dtype} and gives {found.output.dtype}; the web runtime reads float32 and uint8 "
                             "only")
        (folder / f"{name}.tflite").write_bytes(content)
        known.append({"name": name, "file": f"{name}.tflite", "input": found.input.model_dump(), "output": found.output.model_dump()})
        shape = found.input.shape  # type: ignore[assignment]
    shutil.copytree(runtime(), folder / "litert")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    page = folder / "index.html"
    page.write_text(environment.from_string(TEMPLATE.read_text()).render(
        about=about, labels=about.labels, models=known, height=shape[1], width=shape[2], channels=shape[3]))
    return page


def runtime() -> Path:
    """The folder with the web runtime; fetched from the npm registry the first time, and checked. Raises ValueError."""
    kept = _kept()
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        place = Path(scratch) / "runtime"
        for package, files in FILES.items():
            _unpack(_fetched(package, Path(scratch)), files, place)
        if not kept.is_dir():  # another run may have been faster
            place.rename(kept)
    return kept


def _kept() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litepress" / f"litertjs-{VERSION}"


def _fetched(package: str, folder: Path) -> Path:
    try:
        done = subprocess.run(["npm", "pack", "--silent", f"{package}@{VERSION}"], cwd=folder, capture_output=True, text=True, timeout=300)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{package} {VERSION} cannot be fetched: {missing() or error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(f"npm cannot fetch {package} {VERSION}: {lines[0][:200] if lines else 'it does not say why'}")
    archive = folder / done.stdout.split()[-1]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != PACKAGES[package]:
        raise ValueError(f"{package} {VERSION} as npm fetched it is not the archive that this version of litepress knows: {digest[:16]}…")
    return archive


def _unpack(archive: Path, files: Mapping[str, str], target: Path) -> None:
    with tarfile.open(archive) as packed:
        for inside, outside in files.items():
            member = packed.extractfile(f"package/{inside}")
            assert member is not None
            place = target / outside
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(member.read())
