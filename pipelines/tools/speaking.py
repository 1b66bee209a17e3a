"""Speech by programs that lie unpacked in a folder: espeak-ng and flite."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.errors import UserError

ESPEAK, FLITE = "espeak-ng", "flite"
#: What a program and its settings write is called, until it is whole.
UNFINISHED = ".part.wav"


def speak(files: Sequence[tuple[Path, Sequence[str]]], unpacked: Path) -> None:
    """Write files of speech that are not there yet.

    Args:
        files: where each is to lie, and the program with its settings, the last of which takes the file's name.
        unpacked: where the programs lie, as in /.

    Raises:
        UserError: a program does not speak.
    """
    libraries = unpacked / "usr" / "lib"
    search = os.pathsep.join(map(str, (*libraries.glob("*-linux-gnu*"), *libraries.glob("*-linux-gnu*/pulseaudio"))))
    environment = {**os.environ, "LD_LIBRARY_PATH": search}
    data = next((path.parent for path in libraries.glob("*/espeak-ng-data")), libraries)

    def write(file: tuple[Path, Sequence[str]]) -> None:
        target, (program, *settings) = file
        where = [f"--path={data}"] if program == ESPEAK else []
        beside = target.with_suffix(UNFINISHED)
        done = subprocess.run([str(unpacked / "usr" / "bin" / program), *where, *settings, str(beside)],
                              env=environment, capture_output=True, text=True)
        if done.returncode or not beside.exists():
            raise UserError(f"data-speech: {program} does not speak: {' '.join(done.stderr.split())[-200:]}")
        os.replace(beside, target)

    absent = [file for file in files if not file[0].exists()]
    for folder in {target.parent for target, _ in absent}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, absent))
