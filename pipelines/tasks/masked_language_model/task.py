"""Masked language modelling: which token stands where it is hidden, told from both sides. What is learnt so is tuned
on other tasks afterwards."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import PrivateAttr

from export.signature import Arrays, Function, Tensor
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.masked_text import BLANK, BlankedText, MaskedPlaces, MaskedText, OriginalTokens
from pipelines.features.masking import restore
from pipelines.features.tokenizers.mask import MASK
from pipelines.features.tokenizers.tokenizer import PADDING
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files
from pipelines.tasks.masked_language_model import baseline, filled
from pipelines.tasks.masked_language_model.measure import Guessed
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.training.learners.redrawn import redrawn
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS, PLACES, ORIGINALS, OUTPUT = "tokens", "places", "originals", "logits"


class MaskedLanguageModel(Task, name="masked_language_model"):
    """Which token stands where it is hidden, told from both sides (Devlin et al., "BERT", 2019).

    Of each text a share of the tokens is to be guessed. Which they are is drawn anew each time that a text is learnt
    from (Liu et al., "RoBERTa", 2019, section 4.1), by the seed and the step; of the other splits they are always the
    same.
    """

    inputs, targets = {TOKENS: MaskedText, PLACES: MaskedPlaces}, {ORIGINALS: OriginalTokens}
    pairs, split = {OUTPUT: ORIGINALS}, "random"
    metrics = (Metric(name="accuracy"), Metric(name="perplexity", better="lower", relative=True))
    watched = (Metric(name="accuracy"),)
    baselines = (baseline.NAME,)
    ranked = True
    worst_caption = "The best, the median and the worst test texts by the share of wrong guesses"
    _text: MaskedText | None = PrivateAttr(None)
    _index: Index | None = PrivateAttr(None)

    @property
    def text(self) -> MaskedText:
        """Return how texts are cut and hidden, of which the task has taken note."""
        assert self._text is not None
        return self._text

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        inputs, targets = super().features_of(section, fields)
        text = inputs[TOKENS]
        assert isinstance(text, MaskedText)
        self._text = text
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        self._index = index
        return {"length": index.inputs[TOKENS].shape[0], "guesses": index.inputs[PLACES].shape[0],
                "vocabulary": len(index.names(ORIGINALS))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        shape = (index.inputs[PLACES].shape[0], len(index.names(ORIGINALS)))
        return (Tensor(name=OUTPUT, dtype="float32", shape=shape, role="logits",
                       meaning="at each place one per token of the vocabulary; their softmax says what is hidden"),)

    def labels(self, index: Index) -> list[str]:
        """Return nothing: the vocabulary is in tokenizer.json."""
        return []

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the loss of the tokens that are hidden; they are made one-hot here, one batch at a time."""
        compare = loss.build([], "logits")
        vocabulary = len(index.names(ORIGINALS))

        def total(inputs: Any, targets: Any, outputs: Any) -> Any:
            hidden = tf.cast(targets[ORIGINALS] != PADDING, tf.float32)[..., None]
            return compare(tf.one_hot(targets[ORIGINALS], vocabulary) * hidden, outputs[OUTPUT])

        return total

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": _accuracy}

    def learner(self, library: Any) -> type:
        """Return the learner that hides other tokens at each step."""
        text, index = self.text, self._index
        assert index is not None
        learnt = index.learnt[TOKENS]

        def redraw(inputs: Any, targets: Any, step: Any) -> tuple[Any, Any]:
            tokens = restore(inputs[TOKENS], inputs[PLACES], targets[ORIGINALS])
            weights = tf.range(1, tf.size(tokens) + 1, dtype=tf.int32)
            # the order of the texts depends on the seed, so this does; and replicas see other texts
            seed = tf.stack([tf.reduce_sum(tf.reshape(tokens, [-1]) * weights), step])
            drawn = text.drawn_of(tokens, seed, learnt)
            return {TOKENS: drawn.tokens, PLACES: drawn.places}, {ORIGINALS: drawn.originals}

        return redrawn(library, redraw)

    def measure(self, index: Index) -> Guessed:
        return Guessed(OUTPUT, ORIGINALS)

    def notes(self, data: Data) -> list[str]:
        return text_files.notes(data, TOKENS)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with guesses beside it that look at no text."""
        return evaluation.model_copy(update={"baselines": baseline.measured(data, ORIGINALS)})

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what the network gives, and the texts that it was given."""
        return {**predictor.predict(inputs), TOKENS: inputs[TOKENS], PLACES: inputs[PLACES]}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return the usual signature; on a server also `fill`, from texts with blanks to texts."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [*functions, filled.fill(functions[0], data, self.text)]

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return texts with blanks, "in the ___ god created", as a model reads them. Raises UserError where one has
        none, or more than fit."""
        text = features[TOKENS]
        assert isinstance(text, MaskedText)
        titles, rows = text_files.rows(path, {TOKENS: BlankedText(**dict(text))}, index, like)
        masks = rows[TOKENS] == MASK
        places = np.zeros((len(titles), text.guesses), np.int32)
        for title, mask, row in zip(titles, masks, places, strict=True):
            if not 1 <= mask.sum() <= text.guesses:
                raise UserError(f"{title}: has {mask.sum()} blanks in its first {text.length} tokens; write {BLANK} "
                                f"where a token is to be guessed, {text.guesses} times at most")
            row[:mask.sum()] = np.flatnonzero(mask)
        return titles, {**rows, PLACES: places}

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return a line per text: at each place the likeliest token, and how likely it is."""
        names, lines = index.names(ORIGINALS), []
        for logits, tokens, places in zip(outputs[OUTPUT], outputs[TOKENS], outputs[PLACES], strict=True):
            said = []
            for row, place in zip(logits, places.tolist(), strict=True):
                if place or tokens[0] == MASK:
                    likely = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
                    said.append(f"{place} {names[int(likely.argmax())]!r} {likely.max():.2f}")
            lines.append("  ".join(said) or "nothing")
        return lines

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It guesses hidden tokens of texts, out of {len(index.names(ORIGINALS)):,}; of those of the held-out "
                f"test texts {known['accuracy']:.2%} at once, at a perplexity of {known['perplexity']:.2f}.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return f"{wrong:.0%} wrong"


def _accuracy(targets: Any, outputs: Any) -> Any:
    """Return the share of each text's hidden tokens that are guessed, (batch,)."""
    tokens = targets[ORIGINALS]
    there = tf.cast(tokens != PADDING, tf.float32)
    right = tf.cast(tf.argmax(outputs[OUTPUT], -1, tf.int32) == tokens, tf.float32) * there
    return tf.math.divide_no_nan(tf.reduce_sum(right, axis=-1), tf.reduce_sum(there, axis=-1))
