"""Spoken digits and letters by many synthesized voices, beside the few that people have recorded."""
from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pipelines.tools.speaking import ESPEAK, speak
from pipelines.tools.speaking import FLITE as FLITE_PROGRAM

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = (*DIGITS, *"abcdefghijklmnopqrstuvwxyz")
#: espeak-ng's accents of English, and its variants of a voice; some are for training, others for what is measured.
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029",
           "en-us-nyc")
LEARNT = ("Adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Antonio", "Belinda", "Benjamin", "Boris", "Caleb",
          "Denis", "Diogo", "Ed", "Gene", "Gustave", "Henrique", "Hugo", "Iven", "Jacky", "John", "Kaukovalta", "Lee",
          "Linda", "Marcelo", "Mario", "Max", "Michel", "Miguel", "Mike", "anika", "f1", "f2", "f4", "f5", "m1", "m2",
          "m3", "m4", "m5", "m7", "klatt2", "norbert", "sandro", "shelby")
VALIDATED = ("David", "Steph", "m6", "Iven2")
TESTED = ("Auntie", "f3", "m8", "Nguyen", "Pablo", "Paul", "Pedro", "Quincy", "Rob", "Steph2", "Zac", "travis",
          "victor")
#: flite's voices.
FLITE = {"kal16": "train", "awb": "train", "rms": "train", "slt": "test"}
#: How fast flite's voices speak, and how high espeak-ng's, and how fast in words a minute.
STRETCHES, PITCHES, SPEEDS = (0.85, 1.0, 1.2), (30, 50, 70), (130, 160, 190)
#: What flite must read to say a letter whose own name it takes for a word.
SPELLED = {"a": "ay"}
RECORDED = "recorded"
COLUMNS = ("file", "word", "voice", "by", "split")


class Recorded(Protocol):
    """A recording of a person."""

    @property
    def file(self) -> str: ...

    @property
    def voice(self) -> str: ...

    @property
    def prompt(self) -> str: ...


class Spoken(NamedTuple):
    """A word that a voice says.

    Args:
        file: relative to the list.
        by: the program, or "person".
        split: train, validation, test, or recorded, of people.
    """

    file: str
    word: str
    voice: str
    by: str
    split: str


def spoken_words(folder: Path, unpacked: Path, english: Sequence[Recorded]) -> int:
    """Synthesize the words that are not there yet, and write words.csv; return how many it lists. Raises UserError.

    Args:
        folder: for words.csv and the words.
        unpacked: where the programs lie.
        english: recordings of people, some of them words.
    """
    synthesized = [*_by_espeak(), *_by_flite()]
    speak([(folder / one.file, command) for one, command in synthesized], unpacked)
    rows = [*(one for one, _ in synthesized), *_recorded(english)]
    beside = folder / "words.tmp"
    with beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    os.replace(beside, folder / "words.csv")
    return len(rows)


def _by_espeak() -> Iterator[tuple[Spoken, list[str]]]:
    """Yield words and the commands that speak them: each variant in several accents, at a pitch and a speed of its
    own."""
    number = 0
    for split, variants, accents in (("train", LEARNT, 3), ("validation", VALIDATED, 2), ("test", TESTED, 2)):
        for variant in variants:
            for _ in range(accents):
                accent = ACCENTS[number % len(ACCENTS)]
                pitch, speed = PITCHES[number % len(PITCHES)], SPEEDS[number // 3 % len(SPEEDS)]
                number += 1
                for word in WORDS:
                    file = f"words/espeak-{variant}-{accent}/{word}.wav"
                    yield (Spoken(file, word, f"{variant} ({accent})", ESPEAK, split),
                           [ESPEAK, "-v", f"{accent}+{variant}", "-p", str(pitch), "-s", str(speed),
                            word.upper() if len(word) == 1 else word, "-w"])


def _by_flite() -> Iterator[tuple[Spoken, list[str]]]:
    for voice, split in FLITE.items():
        for stretch in STRETCHES:
            for word in WORDS:
                file = f"words/flite-{voice}-{stretch}/{word}.wav"
                yield (Spoken(file, word, voice, FLITE_PROGRAM, split),
                       [FLITE_PROGRAM, "-voice", voice, "--setf", f"duration_stretch={stretch}", "-t",
                        SPELLED.get(word, word), "-o"])


def _recorded(english: Sequence[Recorded]) -> Iterator[Spoken]:
    """Yield the digits and letters among recordings: Asterisk's digits/7 and letters/x, KLettres' alpha/x."""
    for one in english:
        match = re.fullmatch(r"(?:digits/(\d)|(?:letters|alpha)/([a-z]))", one.prompt)
        if match:
            word = DIGITS[int(match[1])] if match[1] else match[2]
            yield Spoken(one.file, word, one.voice, "person", RECORDED)
