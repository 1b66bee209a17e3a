"""What a recognizer of speech is worth: the share of characters, and of words, that must be changed."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from etils import epy

from export.signature import Arrays
from pipelines.features.transcript import text_of
from pipelines.tasks.evaluation import Evaluation, Table, rounded

with epy.lazy_imports():
    import jiwer
    import numpy as np

#: Texts that the report shows.
SHOWN = 12


class Transcription:
    """Collects what is said and what is answered.

    Args:
        names: of the characters, the blank first.
        target: the name of the true characters among the targets.
        decode: from what a network gives of a batch to texts.
    """

    def __init__(self, names: Sequence[str], target: str, decode: Callable[[Arrays], list[str]]):
        self.names, self.target, self.decode = names, target, decode
        self.said: list[str] = []
        self.answered: list[str] = []

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return the share of each transcript's characters that must be changed, (batch,)."""
        said = [text_of(numbers, self.names) for numbers in targets[self.target]]
        answered = self.decode(outputs)
        self.said += said
        self.answered += answered
        return np.array([jiwer.cer(one, other) for one, other in zip(said, answered, strict=True)])

    def result(self, folder: Path | None = None) -> Evaluation:
        """Return the rates over all recordings, and a table of some answers."""
        characters = jiwer.process_characters(self.said, self.answered)
        words = jiwer.process_words(self.said, self.answered)
        rows: list[list[str | int | float]] = [
            [one, other, round(jiwer.cer(one, other), 4)]
            for one, other in list(zip(self.said, self.answered, strict=True))[:SHOWN]]
        whole = sum(one == other for one, other in zip(self.said, self.answered, strict=True))
        return Evaluation(
            metrics=rounded({"character_error_rate": characters.cer, "word_error_rate": words.wer,
                             "exact": whole / len(self.said)}),
            tables=[Table(title="Transcripts", columns=["said", "answered", "character error rate"], rows=rows)],
            limits=[f"Of {sum(map(len, self.said)):,} characters {characters.substitutions:,} are taken for others, "
                    f"{characters.deletions:,} left out and {characters.insertions:,} made up; {whole:,} of "
                    f"{len(self.said):,} transcripts are right to the last character.",
                    "The figures hold for voices, rooms and microphones like the test set's, and for texts like its "
                    "own. Others must be measured first."])
