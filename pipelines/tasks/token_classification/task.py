"""Token classification: a tag for each word of a text, as named entities have."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import PrivateAttr

from export.signature import Arrays, Function, Tensor
from pipelines.features.feature import Field
from pipelines.features.tagged_text import FirstPieces, TaggedText
from pipelines.features.tags import NOTHING, Tags
from pipelines.features.tokenizers.whitespace import Whitespace
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files, text_serving
from pipelines.tasks.task import Evaluation, Features, Metric, Place, Task
from pipelines.tasks.token_classification import baseline, words
from pipelines.tasks.token_classification.measure import METRICS, EntityMeasure, need_library
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS, TAGS, OUTPUT = "tokens", "tags", "logits"
#: The tag of words that are part of nothing.
OUTSIDE = "O"


class TokenClassification(Task, name="token_classification"):
    """A tag for each word of a text: named entities, or parts of speech.

    Where words are cut into pieces, the first has a word's tag, and of the others none is learnt or measured (Devlin et
    al., "BERT", 2019, section 5.3).
    """

    inputs, targets, pairs, split = {TOKENS: TaggedText}, {TAGS: Tags}, {OUTPUT: TAGS}, "random"
    metrics = METRICS
    watched = (Metric(name="accuracy"),)
    baselines = (baseline.NAME,)
    worst_caption = "The texts with the most wrong tags"
    #: Of the texts that were read and of which nothing was said: where each word's first token stands, a file each.
    _firsts: list[Any] = PrivateAttr(default_factory=list)

    def features_of(self, section: DataSection, fields: Mapping[str, Field]) -> tuple[Features, Features]:
        """Return the features, and as a target where the words' first tokens stand, where tokens are pieces, or stand
        behind token 2."""
        inputs, targets = super().features_of(section, fields)
        read = inputs[TOKENS]
        assert isinstance(read, TaggedText)
        are_words = isinstance(read.tokenizer, Whitespace) and not read.ends
        return inputs, {**targets, **({} if are_words else {words.FIRSTS: FirstPieces(**dict(read))})}

    def objective(self, loss: Loss, index: Index) -> Objective:
        compare = super().objective(loss, index)
        return lambda inputs, targets, outputs: compare(inputs, *words.in_graph(targets, outputs, TAGS, OUTPUT))

    def fault(self, example: Mapping[str, Any]) -> str | None:
        words, tags = (len(example[name].split()) for name in (TOKENS, TAGS))
        return None if words == tags else f"has {words} words and {tags} tags; give a tag for each word"

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.learnt[TOKENS].names),
                "classes": len(index.names(TAGS))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        shape = (index.inputs[TOKENS].shape[0], len(index.names(TAGS)))
        return (Tensor(name=OUTPUT, dtype="float32", shape=shape, role="logits",
                       meaning="one per token and tag, in the order of labels.txt; the largest is the tag"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": _accuracy}

    def measure(self, index: Index) -> EntityMeasure:
        return EntityMeasure(index.names(TAGS), TAGS, OUTPUT)

    def notes(self, data: Data) -> list[str]:
        """Return how many texts are cut off, and how much the vocabulary lacks. Raises UserError where what measures
        taggers is not installed: before the training, not after it."""
        need_library()
        return text_files.notes(data, TOKENS)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with each word's most frequent tag as a baseline."""
        return evaluation.model_copy(update={"baselines": baseline.measured(data, TOKENS, TAGS, OUTPUT)})

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        read = features[TOKENS]
        assert isinstance(read, TaggedText)
        self._firsts.append(text_files.rows(path, {TOKENS: FirstPieces(**dict(read))}, index, None)[1][TOKENS])
        return text_files.rows(path, features, index, None)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of tokens and `serving_bytes` of texts, to logits."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [*functions, text_serving.of_text(functions[0], data)]

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return the tags of each text but those of words that are part of nothing, with the words' numbers from 1."""
        names = index.names(TAGS)
        lines = []
        said_of = outputs[OUTPUT].argmax(axis=-1)
        there = np.ones(said_of.shape, bool)
        if self._firsts:
            firsts, self._firsts = np.concatenate(self._firsts), []
            said_of, there = words.of_words(said_of, {words.FIRSTS: firsts}), firsts != NOTHING
        for row, known in zip(said_of.tolist(), there.tolist(), strict=True):
            said = [f"{place} {names[number]}" for place, number in enumerate(row, 1)
                    if known[place - 1] and names[number] != OUTSIDE]
            lines.append("  ".join(said) or "nothing")
        return lines

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        tokens = "tokens" if words.FIRSTS in index.targets else "words"
        return (f"It gives each of a text's first {index.inputs[TOKENS].shape[0]} {tokens} one of "
                f"{len(index.names(TAGS))} tags; on the held-out test texts its entity F1 is "
                f"{evaluation.metrics['entity_f1']:.3f}.")


def _accuracy(targets: Any, outputs: Any) -> Any:
    """Return the share of each text's words whose tag is right."""
    targets, outputs = words.in_graph(targets, outputs, TAGS, OUTPUT)
    there = tf.reduce_sum(targets[TAGS], axis=-1)
    right = tf.cast(tf.argmax(targets[TAGS], -1) == tf.argmax(outputs[OUTPUT], -1), tf.float32) * there
    return tf.reduce_sum(right, axis=-1) / tf.maximum(tf.reduce_sum(there, axis=-1), 1.0)
