"""LiteRT as it runs on arm64 processors, phones' among them, on any Linux machine: Debian's Python and LiteRT's aarch64
wheel under QEMU.

The root that it needs is made of packages that apt and uv download, about 15 and 20 MB, without touching the machine's
own.
"""
from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.errors import last_line
from export.signature import Arrays

with epy.lazy_imports():
    import numpy as np

EMULATOR = "qemu-aarch64-static"
DEBIAN = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
#: What LiteRT's interpreter imports; in the versions that this environment has.
WHEELS = ("ai-edge-litert", "numpy", "flatbuffers", "protobuf", "typing-extensions", "tqdm")
#: The processor that is emulated, and what Linux says of it: LiteRT looks there for what it can do, and user-mode
#: emulation shows the host's.
PROCESSOR = "cortex-a76"
CPUINFO = """processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
GUEST = Path(__file__).with_name("arm64_guest.py")


def missing() -> str:
    """Return what to install; empty where all is there."""
    absent = [name for name in (EMULATOR, "apt-get", "dpkg-deb") if shutil.which(name) is None]
    if not absent:
        return ""
    if absent == [EMULATOR]:
        return f"{EMULATOR} is not installed; on Debian and Ubuntu, apt-get install qemu-user-static brings it"
    return f"{', '.join(absent)} not found: the arm64 root is made of Debian's packages, on Debian or Ubuntu"


def ask(models: Sequence[Path], inputs: Arrays,
        report: Callable[[str], None] = lambda text: None) -> dict[str, dict[str, np.ndarray]]:
    """Return the outputs of TFLite files on an emulated arm64 processor, by file stem and by name.

    Args:
        models: files.
        inputs: of examples, by name; a file's only input may have another name.
        report: called with what is being done.

    Raises:
        ValueError: something is missing, or LiteRT ends there otherwise than it should.
    """
    if absent := missing():
        raise ValueError(absent)
    root = make_root(report)
    report(f"asking {len(models)} files under {EMULATOR}, {PROCESSOR}")
    python = next((root / "usr" / "bin").glob("python3.[0-9]*"))
    environment = {**os.environ, "PYTHONPATH": str(root / "site"), "PYTHONHOME": str(root / "usr")}
    return run_guest([EMULATOR, "-cpu", PROCESSOR, "-L", str(root), str(python)], models, inputs, environment)


def run_guest(python: Sequence[str], models: Sequence[Path], inputs: Arrays,
              environment: Mapping[str, str]) -> dict[str, dict[str, np.ndarray]]:
    """Return the outputs of TFLite files on a Python that has LiteRT and NumPy alone. Raises ValueError where it fails.

    Args:
        python: the command that starts it.
        models, inputs: as `ask` has them.
        environment: its variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        arrays: dict[str, Any] = {f"input.{name}": _plain(values) for name, values in inputs.items()}
        np.savez(source, **arrays)
        command = [*python, str(GUEST), str(source), str(target), *(str(model.absolute()) for model in models)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise ValueError(f"LiteRT on arm64 ends with code {done.returncode}: {last_line(done.stderr)}")
        with np.load(target) as outputs:
            return {model.stem: _of_model(outputs, number) for number, model in enumerate(models)}


def _of_model(outputs: Arrays, number: int) -> dict[str, np.ndarray]:
    beginning = f"{number}."
    return {name.removeprefix(beginning): outputs[name] for name in outputs if name.startswith(beginning)}


def _plain(values: np.ndarray) -> np.ndarray:
    """Return an array that a file can hold: texts as bytes of one length."""
    values = np.asarray(values)
    return values.astype("S") if values.dtype == object else values


def make_root(report: Callable[[str], None] = lambda text: None) -> Path:
    """Return the folder with an arm64 Debian's Python and LiteRT; made the first time. Raises ValueError."""
    wheels = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litepress"
    root = cache / f"arm64-{wheels[0].partition('==')[2]}"
    if root.is_dir():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    report(f"making an arm64 Debian in {root}")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        new = Path(scratch) / "root"
        new.mkdir()
        for package in _debian_packages(Path(scratch)):
            _run(["dpkg-deb", "-x", str(package), str(new)])
        version = next((new / "usr" / "bin").glob("python3.[0-9]*")).name.removeprefix("python")
        _run([*_uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(new / "site"), "--python-platform",
              "aarch64-manylinux_2_36", "--python-version", version, *wheels])
        (new / "proc").mkdir(exist_ok=True)
        (new / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(number=number) for number in range(2)))
        if not root.is_dir():  # another command may have been faster
            new.rename(root)
    return root


def _debian_packages(scratch: Path) -> list[Path]:
    """Return Debian's packages for arm64, with all they need, downloaded from where the machine gets its own."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    settings = ("APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State={scratch / 'state'}",
                f"Dir::State::status={scratch / 'status'}", f"Dir::Cache={scratch / 'cache'}", "Debug::NoLocking=1",
                "APT::Sandbox::User=root")
    options = [part for setting in settings for part in ("-o", setting)]
    _run(["apt-get", *options, "-qq", "update"])
    _run(["apt-get", *options, "-qq", "-y", "--download-only", "--no-install-recommends", "install", *DEBIAN])
    return sorted((scratch / "cache" / "archives").glob("*.deb"))


def _uv() -> list[str]:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise ValueError("uv is not installed; pip install uv brings it")
    return [program]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{command[0]} fails while the arm64 root is made: {last_line(done.stderr or done.stdout)}")
