"""LiteRT as it runs on arm64 processors, phones' among them, on any Linux machine: Debian's Python and LiteRT's aarch64 wheel under QEMU.

The root that it needs is made of packages that apt and uv download, about 15 and 20 MB, without touching the machine's own.
"""
from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

with epy.lazy_imports():
    import numpy as np

EMULATOR = "qemu-aarch64-static"
DEBIAN = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
#: What LiteRT's interpreter imports; in the versions that this environment has.
WHEELS = ("ai-edge-litert", "numpy", "flatbuffers", "protobuf", "typing-extensions", "tqdm")
#: The processor that is emulated, and what Linux says of it: LiteRT looks there for what it can do, and user-mode emulation shows the host.
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
    """What to install; empty where all is there."""
    absent = [name for name in (EMULATOR, "apt-get", "dpkg-deb") if shutil.which(name) is None]
    if not absent:
        return ""
    if absent == [EMULATOR]:
        return f"{EMULATOR} is not installed; on Debian and Ubuntu, apt-get install qemu-user-static brings it"
    return f"{', '.join(absent)} not found: the arm64 root is made of Debian's packages, on Debian or Ubuntu"


def ask(models: Sequence[Path], images: np.ndarray, say: Callable[[str], None] = lambda text: None) -> dict[str, np.ndarray]:
    """The logits of TFLite files on an emulated arm64 processor, by file stem.

    Args:
        models: files.
        images: raw pixels, uint8 (examples, height, width, channels).
        say: told what is being done.

    Raises:
        ValueError: something is missing, or LiteRT ends there otherwise than it should.
    """
    if absent := missing():
        raise ValueError(absent)
    root = make_root(say)
    say(f"asking {len(models)} files under {EMULATOR}, {PROCESSOR}")
    python = next((root / "usr" / "bin").glob("python3.[0-9]*"))
    with tempfile.TemporaryDirectory() as folder:
        pictures, target = Path(folder) / "images.npy", Path(folder) / "answers.npz"
        np.save(pictures, images)
        done = subprocess.run([EMULATOR, "-cpu", PROCESSOR, "-L", str(root), str(python), str(GUEST), str(pictures), str(target),
                               *(str(model.absolute()) for model in models)], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(root / "site"), "PYTHONHOME": str(root / "usr")})
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ValueError(f"LiteRT on arm64 ends with code {done.returncode}: {lines[-1][:200] if lines else 'it says nothing'}")
        with np.load(target) as answers:
            return {model.stem: answers[str(number)] for number, model in enumerate(models)}


def make_root(say: Callable[[str], None] = lambda text: None) -> Path:
    """The folder with an arm64 Debian's Python and LiteRT; made the first time. Raises ValueError."""
    wheels = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litepress"
    root = cache / f"arm64-{wheels[0].partition('==')[2]}"
    if root.is_dir():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    say(f"making an arm64 Debian in {root}")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / "root"
        made.mkdir()
        for package in _debian_packages(Path(scratch)):
            _run(["dpkg-deb", "-x", str(package), str(made)])
        python = next((made / "usr" / "bin").glob("python3.[0-9]*")).name.removeprefix("python")
        _run([*_uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(made / "site"), "--python-platform",
              "aarch64-manylinux_2_36", "--python-version", python, *wheels])
        (made / "proc").mkdir(exist_ok=True)
        (made / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(number=number) for number in range(2)))
        if not root.is_dir():  # another command may have been faster
            made.rename(root)
    return root


def _debian_packages(scratch: Path) -> list[Path]:
    """Downloads Debian's packages for arm64, with all they need, from where the machine gets its own."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    options = [part for setting in ("APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State={scratch / 'state'}",
                                    f"Dir::State::status={scratch / 'status'}", f"Dir::Cache={scratch / 'cache'}",
                                    "Debug::NoLocking=1", "APT::Sandbox::User=root") for part in ("-o", setting)]
    _run(["apt-get", *options, "-qq", "update"])
    _run(["apt-get", *options, "-qq", "-y", "--download-only", "--no-install-recommends", "install", *DEBIAN])
    return sorted((scratch / "cache" / "archives").glob("*.deb"))


def _uv() -> list[str]:
    own = Path(sys.executable).with_name("uv")
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise ValueError("uv is not installed; pip install uv brings it")
    return [found]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ValueError(f"{command[0]} fails while the arm64 root is made: {lines[-1][:200] if lines else 'it says nothing'}")
