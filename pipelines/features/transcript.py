"""Transcripts: what is said in a recording, as the numbers of characters."""
from __future__ import annotations

import collections
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.features.feature import Feature, Field, Learnt

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The number of no character, which CTC puts between them, and of what follows a transcript; and how it is written.
BLANK, BLANK_NAME = 0, "(blank)"
SPACE, APOSTROPHE = " ", "'"
#: What an n-gram begins with before the first character.
START = "^"
#: How often a training transcript counts where a sentence of other texts counts once.
OWN = 10
#: What sentences of a text end with.
ENDS = re.compile(r"[.!?:;%\"…]+|\n\s*\n")


class Transcript(Feature, name="transcript", shorthand="most"):
    """The characters of a transcript by their numbers from 1, int32 (most,); 0 behind the last one.

    Texts are brought to NFC and to small letters; letters, digits and apostrophes stay, and what is between them is a
    space.

    Args:
        most: characters of one transcript, at most.
        alphabet: the characters there are, beside the space; by default those of the training transcripts.
        ngram: characters of the sequences that are counted in the training transcripts, which a beam search then knows;
            none where it is 0.
        texts: a file of other text in that language, UTF-8, whose sentences are counted with them; a training
            transcript counts ten times as much.
    """

    role, accepts = "tokens", ("text",)
    most: int = Setting(200, ge=1, le=5000)
    alphabet: str | None = Setting(None, min_length=1)
    ngram: int = Setting(0, ge=0, le=8)
    texts: str | None = Setting(None, min_length=1)

    @model_validator(mode="after")
    def texts_are_counted(self) -> Transcript:
        if self.texts and not self.ngram:
            raise PydanticCustomError("texts", "texts are counted for n-grams, and ngram is 0; give ngram: 5, or leave "
                                      "texts out")
        return self

    def fingerprint(self) -> str:
        """Return what changes with the file of texts; "" where there is none. Raises UserError."""
        if self.texts is None:
            return ""
        path = Path(self.texts)
        if not path.is_file():
            raise UserError(f"data.transcript.texts: {path} is not there; give a file of text, or leave it out")
        return f"{path.stat().st_size} {path.stat().st_mtime_ns}"

    def learn(self, field: Field, values: Iterable[Any]) -> Learnt:
        texts = [plain(_text(value)) for value in values]
        own = self.alphabet if self.alphabet is not None else "".join(texts)
        if not own:
            return Learnt()
        characters = sorted({SPACE, *plain(own)})
        counts = ngrams(texts, self.ngram) if self.ngram else collections.Counter()
        if self.texts is not None:
            counts = collections.Counter({sequence: OWN * count for sequence, count in counts.items()})
            counts += self._others(set(characters))
        return Learnt(names=[BLANK_NAME, *characters],
                      statistics={sequence: [float(count)] for sequence, count in sorted(counts.items())})

    def _others(self, characters: set[str]) -> collections.Counter[str]:
        """Return the n-grams of other texts. What they have of other characters is left out."""
        assert self.texts is not None
        try:
            content = Path(self.texts).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"data.transcript.texts: {self.texts} is not UTF-8 at byte {error.start}; write it "
                            "so") from error
        sentences = (plain(part) for part in ENDS.split(content))
        known = ("".join(letter for letter in text if letter in characters) for text in sentences)
        return ngrams((text for text in known if text), self.ngram)

    def tensor(self, name: str, learnt: Learnt) -> Tensor:
        return Tensor(name=name, dtype="int32", shape=(self.most,), role="tokens",
                      meaning="numbers of characters from 1, 0 behind the last")

    def load(self, value: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        def numbers(text: Any) -> np.ndarray:
            known = numbered(plain(_text(text)), learnt.names)
            return np.pad(np.asarray(known, "int32"), (0, self.most - len(known)))

        return tf.ensure_shape(tf.numpy_function(numbers, [value], tf.int32, stateful=False), (self.most,))

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        """Return why a transcript cannot be learnt: it has no characters, too many, or one that is not known."""
        text = plain(_text(value))
        if not text:
            return "has a transcript without a letter or a digit; write down what is said, or take the recording out"
        if len(text) > self.most:
            return (f"has a transcript of {len(text)} characters; raise data.transcript.most, which is {self.most}, or "
                    "take it out")
        unknown = sorted({*text} - {*learnt.names}) if learnt.names else []
        if unknown:
            return (f"has the character {unknown[0]!r}, which is in no training transcript; name all characters in "
                    "data.transcript.alphabet")
        return None

    def prepare(self, values: tf.Tensor, learnt: Learnt) -> tf.Tensor:
        return values

    def counts(self, values: np.ndarray, learnt: Learnt) -> np.ndarray:
        """Return how often each character occurs; the blank does not."""
        counted = np.bincount(np.ravel(values), minlength=len(learnt.names))
        counted[BLANK] = 0
        return counted

    def draw(self, axes: Axes, value: np.ndarray, learnt: Learnt) -> None:
        axes.text(0.5, 0.5, self.in_words(value, learnt), ha="center", va="center", wrap=True, fontsize=6)
        axes.axis("off")

    def in_words(self, value: np.ndarray, learnt: Learnt) -> str:
        return text_of(value, learnt.names)


def plain(text: str) -> str:
    """Return a text in NFC, in small letters, with spaces for all that is neither letter, digit nor apostrophe."""
    composed = unicodedata.normalize("NFC", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", APOSTROPHE)).lower()
    kept = (letter if letter.isalnum() or letter == APOSTROPHE else SPACE for letter in composed)
    return SPACE.join("".join(kept).split())


def numbered(text: str, names: Sequence[str]) -> list[int]:
    """Return the numbers of the characters of a plain text."""
    numbers = {name: number for number, name in enumerate(names)}
    return [numbers[letter] for letter in text]


def text_of(numbers: Any, names: Sequence[str]) -> str:
    """Return the text that numbers stand for; blanks are left out."""
    return "".join(names[int(number)] for number in numbers if number != BLANK)


def repeats(text: str) -> int:
    """Return how many characters of a plain text are the same as the one before."""
    return sum(one == other for one, other in itertools.pairwise(text))


def ngrams(texts: Iterable[str], order: int) -> collections.Counter[str]:
    """Return how often each sequence of one to `order` characters occurs, each text begun by `order` - 1 marks and
    ended by a space."""
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        marked = START * (order - 1) + text + SPACE
        for end in range(order - 1, len(marked)):
            for length in range(order):
                counts[marked[end - length:end + 1]] += 1
    return counts


def _text(value: Any) -> str:
    content = value if isinstance(value, (bytes, str)) else value.item()
    return content.decode(errors="replace") if isinstance(content, bytes) else content
