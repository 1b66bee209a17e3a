"""Summarization: from a text to a shorter one that says what matters of it, by an encoder and a decoder."""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy

from export.signature import Function
from pipelines.ingest.index import Index
from pipelines.tasks.raw_texts import texts
from pipelines.tasks.summarization.measure import Summaries, metrics, need_library
from pipelines.tasks.task import Evaluation, Metric, Place
from pipelines.tasks.text_serving import text_tensor
from pipelines.tasks.translation.driver import TOKENS
from pipelines.tasks.translation.of_texts import TRANSLATION
from pipelines.tasks.translation.task import NEXT, Translation

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

FIRST_SENTENCE, FIRST_WORDS = "first_sentence", "first_words"
#: A server's signature, and what it gives.
SUMMARIZE, SUMMARY = "summarize", "summary"
#: What stands behind a sentence.
SENTENCE = re.compile(r"[.!?](?=\s)|\n\s*\n")


class Summarization(Translation, name="summarization"):
    """From a text to a shorter one that says what matters of it. It is learnt and written as a translation is.

    Args:
        beam: texts that a beam search follows; 0 takes the likeliest token each time.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (  # type: ignore[assignment]  # as many as it likes
        Metric(name="rouge_l", label="ROUGE-L"), Metric(name="rouge_1", label="ROUGE-1"),
        Metric(name="rouge_2", label="ROUGE-2"))
    baselines: ClassVar[tuple[str, ...]] = (FIRST_SENTENCE, FIRST_WORDS)  # type: ignore[assignment]
    worst_caption = "The best, the median and the worst test texts by their ROUGE-L"

    def measure(self, index: Index) -> Summaries:
        measured = super().measure(index)
        return Summaries(measured.target, measured.answer, measured.text, measured.original)

    def notes(self, data: Data) -> list[str]:
        """Return how much of the texts is cut off. Raises UserError where what measures summaries is not installed."""
        need_library()
        return super().notes(data)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what the beginnings of the texts would be worth as their summaries: the first
        sentence, and as many words as summaries have in the middle."""
        read, expected = (list(texts(data, "test", name)) for name in (TOKENS, NEXT))
        count = round(float(np.median([len(text.split()) for text in texts(data, "train", NEXT)])))
        beside = {FIRST_SENTENCE: metrics([first_sentence(text) for text in read], expected),
                  FIRST_WORDS: metrics(list(first_words(read, count)), expected)}
        return evaluation.model_copy(update={"baselines": beside})

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the encoder and `decode_step`; on a server the encoder as `encode` too, and `summarize`, from texts to
        texts."""
        functions = super().functions(model, data, place)
        if place == "device":
            return functions
        *others, written = functions
        outputs = (text_tensor(SUMMARY, "the summary, UTF-8"),)
        signature = written.signature.model_copy(update={"name": SUMMARIZE, "outputs": outputs})

        def call(**tensors: Any) -> dict[str, Any]:
            return {SUMMARY: written.call(**tensors)[TRANSLATION]}

        return [*others, Function(signature, call)]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It shortens texts; on the held-out test texts ROUGE-1 is {known['rouge_1']:.1f}, ROUGE-2 "
                f"{known['rouge_2']:.1f} and ROUGE-L {known['rouge_l']:.1f}, of 100.")

    def title(self, targets: Any, outputs: Any, position: int, wrong: float, data: Data) -> str:
        return super().title(targets, outputs, position, wrong, data).replace("chrF", "ROUGE-L")


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence, or of its first paragraph."""
    found = SENTENCE.search(text.strip())
    return text.strip() if found is None else text.strip()[:found.end()].strip()


def first_words(read: Iterable[str], count: int) -> Iterable[str]:
    """Return the first words of each text."""
    return (" ".join(text.split()[:count]) for text in read)
