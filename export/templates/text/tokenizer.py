"""Cuts text into tokens, as the model of this bundle was trained to: tokenizer.json says how.

    python tokenizer.py "some text"

The standard library is all that it needs. Tokenizer.kt and Tokenizer.swift do the same, line by line.
"""
from __future__ import annotations

import bisect
import itertools
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Of this bundle, two folders above this file's.
FOLDER = Path(__file__).resolve().parents[2]
#: What a character is to words: it stands between them, is part of one, or is a word alone.
APART, PART, ALONE = 0, 1, 2
PADDING, UNKNOWN, START, END = 0, 1, 2, 3
#: What these are called in the vocabulary; no text has them, whatever is written in it.
SPECIAL = ("<PAD>", "<UNKNOWN>", "<START>", "<END>")
REPLACEMENT, MARK = 0xFFFD, 0x2581
SPACES = " \t\n\v\f\r"
#: The characters of words of the kind regex, which are MediaPipe's.
WORDS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'"
#: A character that is no piece counts as so much less likely than the rarest piece.
PENALTY = 10.0
#: What a character is to words of the kind byte_bpe: none of the others, a letter, a number, or white space.
WHITE = 3
#: What follows an apostrophe in a word of its own.
ENDINGS = ("s", "t", "re", "ve", "m", "ll", "d")
#: Bytes by the numbers of their tokens: those that are seen come first.
SEEN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTES = (*SEEN, *(byte for byte in range(256) if byte not in SEEN))
Points = list[int]


class Tokenizer:
    """The tokenizer of a model.

    Args:
        said: the content of tokenizer.json.
    """

    def __init__(self, said: dict[str, Any]):
        self.kind, self.lower, self.length, self.ends = (said[name] for name in ("kind", "lower", "length", "ends"))
        self.most = self.length * said.get("characters_per_token", 1)
        self.longest, self.inside = said.get("longest", 0), said.get("inside", "")
        characters = said["characters"]
        self.starts, self.kinds = characters["starts"], characters["kinds"]
        self.small = dict(zip(characters["capitals"], characters["small"], strict=True))
        self.numbers = {name: number for number, name in enumerate(said["vocabulary"])
                        if number > END or name not in SPECIAL}
        scores = said.get("scores", [])
        special = len(said["vocabulary"]) - len(scores)
        self.scores = {special + number: score for number, score in enumerate(scores)}
        classes = said.get("classes", {"starts": [0], "kinds": [0]})
        merges = said.get("merges", {"left": [], "right": []})
        self.class_starts, self.classes = classes["starts"], classes["kinds"]
        pairs = zip(merges["left"], merges["right"], strict=True)
        self.merges = {pair: len(BYTES) + number for number, pair in enumerate(pairs)}
        self.first_byte = len(said["vocabulary"]) - len(BYTES) - len(self.merges)
        self.unknown_score = _float32(min(scores) - PENALTY) if scores else 0.0

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Tokenizer:
        """Return the tokenizer of a bundle."""
        return cls(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens, filled up to the model's length."""
        numbers = self._numbers(self._points(text))[:self.length - 2 * self.ends]
        if self.ends:
            numbers = [START, *numbers, END]
        return numbers + [PADDING] * (self.length - len(numbers))

    def _numbers(self, points: Points) -> list[int]:
        if self.kind == "character":
            return [self.numbers.get(chr(point), UNKNOWN) for point in points]
        if self.kind in ("word", "regex", "whitespace"):
            return [self.numbers.get(_string(word), UNKNOWN) for word in self._words(points)]
        if self.kind == "wordpiece":
            return [number for word in self._words(points) for number in self._longest_first(word)]
        if self.kind == "byte_bpe":
            return [number for word in self._runs(points) for number in self._in_pairs(_string(word).encode())]
        cut = self._merged if self.kind == "bpe" else self._likeliest
        numbers = [number for word in self._spaced(points) for number in cut(word)]
        return [number for number, before in zip(numbers, [PADDING, *numbers], strict=False)
                if number != UNKNOWN or before != UNKNOWN]

    def _points(self, text: str) -> Points:
        """Return the characters that are looked at, without capitals where these do not count."""
        points = [REPLACEMENT if 0xD800 <= ord(character) < 0xE000 else ord(character) for character in
                  text[:self.most]]
        return [self.small.get(point, point) for point in points] if self.lower else points

    def _kind(self, point: int) -> int:
        if self.kind == "regex":
            return PART if chr(point) in WORDS else APART
        if self.kind == "whitespace":
            return APART if chr(point) in SPACES else PART
        return APART if point == REPLACEMENT else self.kinds[bisect.bisect_right(self.starts, point) - 1]

    def _words(self, points: Points) -> list[Points]:
        """Return runs of letters, marks and digits, and every other character that is not white space."""
        words: list[Points] = []
        before = APART
        for point in points:
            kind = self._kind(point)
            if kind == ALONE or (kind == PART and before != PART):
                words.append([point])
            elif kind == PART:
                words[-1].append(point)
            before = kind
        return words

    def _spaced(self, points: Points) -> list[Points]:
        """Return what stands between white space, each behind a mark."""
        words: list[Points] = []
        apart = True
        for point in points:
            if self._kind(point) == APART or point == MARK:
                apart = True
                continue
            if apart:
                words.append([MARK])
            words[-1].append(point)
            apart = False
        return words

    def _runs(self, points: Points) -> list[Points]:
        """Return the words of GPT-2: runs of one class with the space before them; of white space the last one is not
        in a word with the others."""
        classes = [self.classes[bisect.bisect_right(self.class_starts, point) - 1] for point in points]
        words: list[Points] = []
        start = 0
        while start < len(points):
            here = _string(points[start:start + 3])
            ending = next((ending for ending in ENDINGS if here.startswith("'" + ending)), "")
            first = start + (points[start] == 0x20 and start + 1 < len(points) and classes[start + 1] != WHITE)
            end = first
            while end < len(points) and classes[end] == classes[first]:
                end += 1
            if ending:
                end = start + 1 + len(ending)
            elif classes[first] == WHITE and end < len(points) and end - start > 1:
                end -= 1
            words.append(points[start:end])
            start = end
        return words

    def _in_pairs(self, word: bytes) -> list[int]:
        """Return the tokens of a word: of all neighbours the pair that was learnt first becomes one, again and
        again."""
        numbers = [BYTES.index(byte) for byte in word]
        while True:
            pairs = [self.merges.get(pair) for pair in itertools.pairwise(numbers)]
            best = min((pair for pair in pairs if pair is not None), default=None)
            if best is None:
                return [self.first_byte + number for number in numbers]
            place = pairs.index(best)
            numbers[place:place + 2] = [best]

    def _number(self, word: Points, start: int, size: int, before: str = "") -> int | None:
        """Return the number of the piece of so many characters, or None."""
        if size > self.longest or start + size > len(word):
            return None
        return self.numbers.get(before + _string(word[start:start + size]))

    def _longest_first(self, word: Points) -> list[int]:
        numbers: list[int] = []
        start = 0
        while start < len(word):
            before = self.inside if start else ""
            sizes = range(min(self.longest, len(word) - start), 0, -1)
            size = next((size for size in sizes if self._number(word, start, size, before) is not None), 0)
            if not size:
                return [UNKNOWN]
            numbers.append(self.numbers[before + _string(word[start:start + size])])
            start += size
        return numbers

    def _merged(self, word: Points) -> list[int]:
        ends = list(range(len(word) + 1))  # where pieces begin, and the end of the word
        while True:
            best, place = float("-inf"), 0
            for position in range(len(ends) - 2):
                number = self._number(word, ends[position], ends[position + 2] - ends[position])
                score = self.scores.get(number) if number is not None else None
                if score is not None and score > best:
                    best, place = score, position + 1
            if not place:
                return [self._known(word, first, end) for first, end in itertools.pairwise(ends)]
            del ends[place]

    def _likeliest(self, word: Points) -> list[int]:
        totals, sizes = [0.0], [0]
        for end in range(1, len(word) + 1):
            best, chosen = float("-inf"), 0
            for size in range(min(self.longest, end), 0, -1):
                number = self._number(word, end - size, size)
                score = self.scores.get(number) if number is not None else None
                if score is None and size == 1:
                    score = self.unknown_score
                if score is not None and (total := _float32(totals[end - size] + score)) > best:
                    best, chosen = total, size
            totals.append(best)
            sizes.append(chosen)
        numbers: list[int] = []
        end = len(word)
        while end:
            numbers.append(self._known(word, end - sizes[end], end))
            end -= sizes[end]
        return numbers[::-1]

    def _known(self, word: Points, first: int, end: int) -> int:
        number = self._number(word, first, end - first)
        return UNKNOWN if number is None or number not in self.scores else number


def _string(points: Sequence[int]) -> str:
    return "".join(map(chr, points))


def _float32(number: float) -> float:
    """Return a number as exact as the model's own sums are."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


if __name__ == "__main__":
    for line in sys.argv[1:]:
        print(*Tokenizer.read().tokens(line))
