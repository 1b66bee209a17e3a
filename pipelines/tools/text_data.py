"""The King James Bible out of a Debian package, unpacked without root, and addresses whose words people have labelled,
out of the source package of usaddress: what the recipes of characters and of addresses learn from.

    python -m pipelines.tools.text_data data/text
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import UserError
from pipelines.tools.speech_data import fetch, needed

#: The text, and the program that reads it.
PACKAGES = ("bible-kjv-text", "bible-kjv")
ALL = "gen1:1-rev22:21"
#: Addresses in the United States (MIT licence, copyright 2014 The Atlanta Journal Constitution).
ADDRESSES, VERSION = "usaddress", "0.5.16"
SHA256 = "f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6"
LABELLED = "training/labeled.xml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        verses, labelled = make(folder), addresses(folder)
    except UserError as error:
        sys.exit(str(error))
    print(f"{folder / 'bible.txt'}: {verses:,} verses")
    print(f"{folder / 'addresses.txt'}: {labelled:,} addresses")


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


def addresses(folder: Path) -> int:
    """Write addresses.txt, a word and its tag a line, an empty line behind each address; return how many there are.
    Raises UserError where the package cannot be fetched."""
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    requirements = packages / "requirements.txt"
    requirements.write_text(f"{ADDRESSES}=={VERSION} --hash=sha256:{SHA256}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--no-binary", ":all:", "--dest", packages, "-r", requirements],
        capture_output=True, text=True)
    archive = packages / f"{ADDRESSES}-{VERSION}.tar.gz"
    if done.returncode or not archive.is_file():
        raise UserError(f"data-text: {ADDRESSES} {VERSION} cannot be fetched: {' '.join(done.stderr.split())[-200:]}")
    with tarfile.open(archive) as files:
        member = files.extractfile(f"{ADDRESSES}-{VERSION}/{LABELLED}")
        assert member is not None
        texts = list(tagged(member.read()))
    lines = ("".join(f"{word} {tag}\n" for word, tag in text) for text in texts)
    (folder / "addresses.txt").write_text("\n".join(lines), encoding="utf-8")
    return len(texts)


def tagged(content: bytes) -> Iterator[list[tuple[str, str]]]:
    """Give the words of each text in parserator's format with their tags, each text once: an element is one or more
    words, named after their label; words beside one another with the same label are one entity, B- and I-."""
    seen: set[tuple[str, ...]] = set()
    for text in xml.etree.ElementTree.fromstring(content):
        labelled = [(word, part.tag) for part in text for word in (part.text or "").split()]
        words = tuple(word for word, _ in labelled)
        if words and words not in seen:
            seen.add(words)
            before = [None, *(label for _, label in labelled)]
            yield [(word, f"{'I' if label == last else 'B'}-{label}")
                   for (word, label), last in zip(labelled, before, strict=False)]


if __name__ == "__main__":
    main()
