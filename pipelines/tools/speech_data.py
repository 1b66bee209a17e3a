"""Voices out of Debian packages, unpacked without root, and words that are synthesized: what the recipes of speech
learn from.

    python -m pipelines.tools.speech_data data/speech
"""
from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import UserError
from pipelines.features import audio_file
from pipelines.tools.speaking import ESPEAK, FLITE, speak
from pipelines.tools.spoken_words import spoken_words

#: Packages of recordings.
VOICES = ("asterisk-core-sounds-en-wav", "asterisk-core-sounds-es-wav", "asterisk-core-sounds-fr-wav",
          "asterisk-core-sounds-it-wav", "asterisk-core-sounds-ru-wav", "asterisk-prompt-it-menardi-wav",
          "asterisk-prompt-fr-armelle", "asterisk-prompt-es-co", "fillets-ng-data-cs", "fillets-ng-data",
          "klettres-data", "pocketsphinx-testdata")
#: The package of Czech sayings and quotations, whose files are written into one, and those of it that are not Czech.
SAYINGS, NOT_CZECH = "fortunes-cs", ("klasik-sk",)
#: Programs that speak.
SPEAKERS = (ESPEAK, FLITE)
#: Folder of Asterisk's prompts to their language and voice.
ASTERISK = {"en_US_f_Allison": ("en", "Allison Smith"), "es_MX_f_Allison": ("es", "Allison Smith"),
            "fr_CA_f_June": ("fr", "June Wallack"), "it_IT_m_Carlo": ("it", "Carlo"),
            "it_IT_f_Menardi": ("it", "Paola Menardi"), "ru_RU_f_IvrvoiceRU": ("ru", "IvrvoiceRU"),
            "es": ("es", "es-co"), "fr": ("fr", "Armelle Desjardins")}
#: Of prompts without speech.
SILENCE = "silence"
#: The part of a dialogue's name that says which of the two fish speaks.
FISH = {"m": "small fish", "v": "big fish"}
#: Languages whose letters and syllables are taken.
LETTERS = ("cs", "en", "en_GB", "es", "fr", "it", "ru")
GSM_RATE = 8000
COLUMNS = ("file", "language", "voice", "kind", "prompt", "transcript", "fold")
#: Prompts are divided into so many folds by their names.
FOLDS, TESTED_FOLD = 10, 0
#: How the Czech dialogues are synthesized: variants of espeak-ng's voice, words a minute, pitches.
CZECH_VOICES = ("m1", "f2", "m3", "Andy", "f4", "m5", "Annie", "m7", "f5", "Denis", "klatt2")
SPEEDS, PITCHES = ("150", "175", "200", "165"), ("35", "50", "65")


class Recording(NamedTuple):
    """A recording.

    Args:
        file: relative to the list.
        language: ISO 639's two letters.
        voice: who speaks.
        kind: prompts, dialogues, roles, of other voices in a game, noises, of what is no speech there, letters,
            sentences, or synthesized, of dialogues that a program reads.
        prompt: what is said, by a name that all voices share.
        transcript: of it; nothing where only a name is known.
    """

    file: str
    language: str
    voice: str
    kind: str
    prompt: str
    transcript: str

    @property
    def fold(self) -> int:
        """Return a number that all recordings of a prompt have, and as many prompts as any other."""
        return zlib.crc32(self.prompt.encode()) % FOLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        recordings, words = make(folder)
    except UserError as error:
        sys.exit(str(error))
    print(f"{folder}: {recordings:,} recordings in prompts.csv, {words:,} words in words.csv")


def make(folder: Path) -> tuple[int, int]:
    """Fetch and unpack the packages into a folder, and write prompts.csv and words.csv; return how many recordings each
    lists. What is there already is not fetched again. Raises UserError."""
    unpacked = folder / "unpacked"
    fetch([*VOICES, SAYINGS, *needed(SPEAKERS)], folder / "packages", unpacked)
    share = unpacked / "usr" / "share"
    _sayings(share / "games" / "fortunes" / "cs", folder / "czech.txt")
    recorded = [*_asterisk(share / "asterisk" / "sounds", folder), *_dialogues(share / "games" / "fillets-ng", folder),
             *_letters(share / "klettres", folder),
             *_sentences(share / "pocketsphinx" / "test" / "data" / "librivox", folder)]
    spoken = [*_synthesized(recorded)]
    speak([(folder / one.file, command) for one, command in spoken], unpacked)
    listed = [*recorded, *(one for one, _ in spoken)]
    _write(folder / "prompts.csv", COLUMNS, [(*one, one.fold) for one in listed])
    words = spoken_words(folder, unpacked, [one for one in recorded if one.language == "en"])
    return len(listed), words


def _sayings(fortunes: Path, target: Path) -> None:
    """Write Czech texts into one file, unless it is there."""
    files = [path for path in sorted(fortunes.iterdir()) if not path.suffix and path.name not in NOT_CZECH]
    if not target.exists():
        target.write_bytes(b"\n%\n".join(path.read_bytes() for path in files))


def fetch(packages: Sequence[str], downloads: Path, unpacked: Path) -> None:
    """Download packages of this machine's Debian and unpack them into a folder, without root. Raises UserError."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(f"data-speech: there is no {program}; the voices come in packages of Debian: run it on "
                            "Debian or Ubuntu, or in a container of it")
    downloads.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if (downloads / f"{package}.unpacked").exists():
            continue
        done = subprocess.run(["apt-get", "download", "-qq", package], cwd=downloads, capture_output=True, text=True)
        files = sorted(downloads.glob(f"{package}_*.deb"))
        if done.returncode or not files:
            raise UserError(f"data-speech: {package} cannot be fetched: {' '.join(done.stderr.split())[-200:]}. "
                            "apt-get update may help")
        subprocess.run(["dpkg-deb", "-x", str(files[-1]), str(unpacked)], check=True)
        (downloads / f"{package}.unpacked").touch()
        files[-1].unlink()


def needed(packages: Sequence[str]) -> list[str]:
    """Return packages and those that they depend on, but for what is installed. Raises UserError."""
    options = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    done = subprocess.run(["apt-cache", "depends", "--recurse", *(f"--no-{option}" for option in options), *packages],
                          capture_output=True, text=True)
    names = sorted({line for line in done.stdout.splitlines() if re.match(r"[a-z0-9]", line)})
    if not names:
        raise UserError(f"data-speech: apt-cache does not know {', '.join(packages)}; run apt-get update")
    return [name for name in names if not _installed(name) or name in packages]


def _installed(package: str) -> bool:
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package.split(":")[0]], capture_output=True,
                          text=True)
    return done.stdout.endswith(" installed")


def _asterisk(sounds: Path, folder: Path) -> Iterator[Recording]:
    """Yield the prompts of voices: the name of a file says what is said, in short."""
    for name, (language, voice) in ASTERISK.items():
        for path in sorted((sounds / name).rglob("*")):
            prompt = path.relative_to(sounds / name).with_suffix("").as_posix()
            is_made = path.suffix == ".wav" and path.with_suffix(".gsm").exists()
            if path.suffix not in (".wav", ".gsm") or is_made or prompt.startswith(SILENCE):
                continue
            kind = "prompts" if "/" not in prompt else prompt.split("/")[0]
            yield Recording(_as_wav(path, folder), language, voice, kind, prompt, "")


def _as_wav(path: Path, folder: Path) -> str:
    """Return where a recording lies; one in GSM 06.10, which no header describes, is written as a WAV file beside."""
    if path.suffix == ".gsm":
        target = path.with_suffix(".wav")
        if not target.exists():
            import soundfile

            samples, rate = soundfile.read(path, format="RAW", subtype="GSM610", samplerate=GSM_RATE, channels=1)
            target.write_bytes(audio_file.wav(samples, rate))
        path = target
    return path.relative_to(folder).as_posix()


def _dialogues(game: Path, folder: Path) -> Iterator[Recording]:
    """Yield what Czech actors say in a game, with its text."""
    texts: dict[str, str] = {}
    for path in sorted(game.joinpath("script").rglob("dialogs_cs.lua")):
        texts |= dict(re.findall(r'dialogId\("([^"]+)"[^\n]*\n\s*dialogStr\("((?:[^"\\]|\\.)*)"\)',
                                 path.read_text(encoding="utf-8")))
    for path in sorted(game.joinpath("sound").rglob("cs/*.ogg")):
        text = texts.get(path.stem, "").replace('\\"', '"')
        part = path.stem.split("-")
        voice = FISH.get(part[1] if len(part) > 1 else "", "others")
        kind = ("roles" if voice == "others" else "dialogues") if text else "noises"
        yield Recording(path.relative_to(folder).as_posix(), "cs", voice, kind,
                        f"{path.parent.parent.name}/{path.stem}", text)


def _letters(letters: Path, folder: Path) -> Iterator[Recording]:
    """Yield letters and syllables that volunteers say."""
    for code in LETTERS:
        for path in sorted((letters / code).rglob("*.ogg")):
            yield Recording(path.relative_to(folder).as_posix(), code.split("_")[0], f"KLettres {code}", "letters",
                            f"{path.parent.name}/{path.stem.lower()}", path.stem.lower())


def _sentences(books: Path, folder: Path) -> Iterator[Recording]:
    """Yield sentences of an audio book."""
    lines = (books / "transcription").read_text().splitlines()
    for text, name in (re.match(r"<s> (.*?) *</s> \((.*)\)", line).groups() for line in lines if line.strip()):  # type: ignore[union-attr]
        yield Recording((books / f"{name}.wav").relative_to(folder).as_posix(), "en", "LibriVox", "sentences", name,
                        text)


def _synthesized(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, list[str]]]:
    """Yield the Czech dialogues that are not tested on as synthesized voices say them, and the commands that do."""
    number = 0
    for one in recordings:
        if one.kind != "dialogues" or one.fold == TESTED_FOLD:
            continue
        voice = CZECH_VOICES[number % len(CZECH_VOICES)]
        speed, pitch = SPEEDS[number % len(SPEEDS)], PITCHES[number // 2 % len(PITCHES)]
        number += 1
        file = f"spoken/{one.prompt}.wav"
        yield (Recording(file, one.language, f"espeak-ng {voice}", "synthesized", one.prompt, one.transcript),
               [ESPEAK, "-v", f"cs+{voice}", "-s", speed, "-p", pitch, one.transcript, "-w"])


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    os.replace(beside, path)


if __name__ == "__main__":
    main()
