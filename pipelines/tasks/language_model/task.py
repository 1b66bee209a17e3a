"""Language modelling: which token follows, at every step of a text."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import PrivateAttr

from export.signature import DEFAULT, Arrays, Function, Tensor
from models.stepping import stepping
from pipelines.features.feature import Field
from pipelines.features.running_text import NextTokens, RunningText
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.ingest.index import Index, Part
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files
from pipelines.tasks.language_model import baselines, generation, of_texts, steps
from pipelines.tasks.language_model.measure import Surprise
from pipelines.tasks.raw_texts import texts
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task

with epy.lazy_imports():
    import keras
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS, NEXT, OUTPUT = "tokens", "next", "logits"
#: Of the tokens that may follow, so many are named.
NAMED = 3


class LanguageModel(Task, name="language_model"):
    """Which token follows, at every step of a text; a model must see no token before its time.

    Each stretch of text is read from its own beginning, behind a token that says so, and each of its tokens is
    answered once: nothing of the held-out text is left out of the figures.
    """

    inputs, targets, pairs = {TOKENS: RunningText}, {NEXT: NextTokens}, {OUTPUT: NEXT}
    split = "chronological"
    metrics = (Metric(name="bits_per_character", label="bits per character", better="lower", relative=True),
               Metric(name="perplexity", better="lower", relative=True))
    watched = (Metric(name="bits_per_token", label="bits per token", better="lower"),)
    baselines = baselines.NAMES
    ranked = True
    worst_caption = "The best, the median and the worst test texts by their bits for each token"
    _read: RunningText | None = PrivateAttr(None)

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return what is read and what follows; the task takes note of how text is cut."""
        inputs, targets = super().features_of(section, fields)
        read = inputs[TOKENS]
        assert isinstance(read, RunningText)
        self._read = read
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.names(NEXT))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        shape = (index.inputs[TOKENS].shape[0], len(index.names(NEXT)))
        return (Tensor(name=OUTPUT, dtype="float32", shape=shape, role="logits",
                       meaning="at each step one per token of the vocabulary; their softmax says which one follows"),)

    def labels(self, index: Index) -> list[str]:
        """Return nothing: the vocabulary is in tokenizer.json."""
        return []

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"bits_per_token": bits_per_token}

    def measure(self, index: Index) -> Surprise:
        return Surprise(OUTPUT, NEXT, lambda tokens: len(self._kept(tokens, index)))

    def _kept(self, tokens: np.ndarray, index: Index) -> str:
        """Return what tokens keep of their text; its end is a line break, and what is unknown a question mark."""
        names, read = index.names(NEXT), self._read
        assert read is not None
        own = [number for number in tokens.tolist() if number not in (PADDING, START)]
        ends = own.count(END) if read.ends else 0
        words = ["?" if number == UNKNOWN else names[number] for number in own if number != END]
        return read.tokenizer.text(words) + "\n" * ends

    def _text(self, data: Data, part: Part) -> str:
        """Return the text of a part as far as its tokens keep it: of characters as they are written, the text itself;
        of others, which leave out capitals, white space or what is behind the last token, the text that they make."""
        read = data.features[TOKENS]
        assert isinstance(read, RunningText)
        if isinstance(read.tokenizer, Character) and not read.tokenizer.lower:
            return "".join(f"{text}\n" if read.ends else text for text in texts(data, part, TOKENS))
        return "".join(self._kept(row, data.index) for _, targets in data.batches(part) for row in targets[NEXT])

    def notes(self, data: Data) -> list[str]:
        return text_files.notes(data, TOKENS)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with gzip, xz and a five-gram model beside."""
        beside = baselines.measured(data, NEXT, lambda part: self._text(data, part))
        return evaluation.model_copy(update={"baselines": beside})

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the network gives, and how many tokens it was given."""
        return {**predictor.predict(inputs), "length": (inputs[TOKENS] != PADDING).sum(axis=1)}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the usual signature, and `step`, which takes one token and states, where the model is recurrent; on a
        server `score` too, of texts, and `generate` where it is recurrent or a Transformer."""
        functions = super().functions(model, data, place)
        one = stepping(model)
        if one is not None:
            functions.append(steps.function(one, len(data.index.names(NEXT))))
        if place == "server":
            functions.append(of_texts.score(functions[0], data, TOKENS, NEXT))
            functions += generation.functions(model, data, TOKENS) if one is None else [
                of_texts.generate(one, data, TOKENS)]
        return functions

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return training texts for the usual signature, and their single steps for `step`."""
        one = stepping(load())
        return [(DEFAULT, inputs)] if one is None else [
            (DEFAULT, inputs), (steps.STEP, steps.trajectories(one, inputs[TOKENS]))]

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        return text_files.rows(path, features, index, like)

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return a line per text: what may stand in the place of its last token."""
        names = index.names(NEXT)
        lines = []
        for logits, length in zip(outputs[OUTPUT], outputs["length"], strict=True):
            last = logits[max(int(length), 1) - 1]
            likely = np.exp(last - last.max()) / np.exp(last - last.max()).sum()
            best = np.argsort(-likely)[:NAMED]
            lines.append("then " + "  ".join(f"{names[number]!r} {likely[number]:.2f}" for number in best))
        return lines

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It says which of {len(index.names(NEXT)):,} tokens follows, at every step of a text; the held-out "
                f"test text takes {known['bits_per_character']:.3f} bits per character, a perplexity of "
                f"{known['perplexity']:.2f}.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return f"{wrong:.2f} bits per token"


def bits_per_token(targets: Any, outputs: Any) -> Any:
    """Return the bits of each text's tokens on average, (batch,).

    Args:
        targets: one-hot, (batch, length, vocabulary), all 0 behind a text.
    """
    ops = keras.ops
    known = ops.sum(targets[NEXT], axis=-1)
    losses = ops.sum(targets[NEXT] * -ops.log_softmax(outputs[OUTPUT], axis=-1), axis=-1)
    return ops.sum(losses, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1) / np.log(2).astype("float32")
