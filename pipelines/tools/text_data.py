"""The King James Bible out of a Debian package, unpacked without root: what the recipe of characters learns from.

    python -m pipelines.tools.text_data data/text
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from pipelines.errors import UserError
from pipelines.tools.speech_data import fetch, needed

#: The text, and the program that reads it.
PACKAGES = ("bible-kjv-text", "bible-kjv")
ALL = "gen1:1-rev22:21"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        verses = make(folder)
    except UserError as error:
        sys.exit(str(error))
    print(f"{folder / 'bible.txt'}: {verses:,} verses")


def make(folder: Path) -> int:
    """Write bible.txt, a verse a line behind its book, chapter and number; return how many there are. Raises
    UserError."""
    unpacked = (folder / "unpacked").resolve()
    fetch(needed(PACKAGES), folder / "packages", unpacked)
    libraries = {str(path.parent) for path in unpacked.rglob("*.so.*")}
    done = subprocess.run([unpacked / "usr" / "bin" / "bible", "-f", "-p", unpacked / "usr" / "lib", ALL],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries)), "COLUMNS": "100000"})
    verses = done.stdout.splitlines()
    if done.returncode or not verses:
        raise UserError(f"data-text: bible cannot be read: {' '.join(done.stderr.split())[-200:]}")
    (folder / "bible.txt").write_text("".join(f"{verse}\n" for verse in verses))
    return len(verses)


if __name__ == "__main__":
    main()
