"""Sentence embeddings, learnt from pairs of texts that belong together: each one's partner is told from the others of
its batch."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from etils import epy
from pydantic import Field, PrivateAttr

from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models.embedding import EMBEDDING
from pipelines.features.pair_text import PairText, SecondText, SoughtText
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_files, text_serving
from pipelines.tasks.sentence_embedding import retrieval
from pipelines.tasks.task import Evaluation, Features, Measure, Metric, Place, Task
from pipelines.training.learners.side_by_side import side_by_side
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS, SECOND, SOUGHT = "tokens", "second", "sought"
#: What the second text's embedding is called where both are measured.
OTHER = "second_embedding"


class SentenceEmbedding(Task, name="sentence_embedding"):
    """Texts as vectors of length 1: the larger the scalar product of two, the nearer they are in meaning.

    It learns from pairs, of a source such as `pairs`, each text's partner against those of all other pairs of its batch
    (Henderson et al., "Efficient Natural Language Response Suggestion", 2017, section 4.3; van den Oord et al.,
    "Representation Learning with Contrastive Predictive Coding", 2018), in both directions: large batches are better.

    Args:
        temperature: that cosines are divided by before the softmax.
    """

    inputs, targets = {TOKENS: PairText, SECOND: SecondText}, {SOUGHT: SoughtText}
    split = "random"
    metrics: ClassVar[tuple[Metric, ...]] = retrieval.METRICS
    watched = (Metric(name="found_in_batch", label="found in the batch"),)
    baselines: ClassVar[tuple[str, ...]] = (retrieval.TF_IDF,)
    worst_caption = "The pairs whose texts are furthest from each other"
    temperature: float = Field(0.05, gt=0)
    _units: int | None = PrivateAttr(None)

    def of_model(self, section: ModelSection) -> SentenceEmbedding:
        """Return the task, which takes note of how long an embedding is."""
        task = self.model_copy()
        task._units = section.settings.get("units")
        return task

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.learnt[TOKENS].names)}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=EMBEDDING, dtype="float32", shape=(self._units,), role="embedding",
                       meaning="of length 1: the scalar product of two is the cosine of their texts"),)

    def signature(self, index: Index, place: Place = "device") -> Signature:
        """Return the signature of what ships: one text, not a pair."""
        return Signature(inputs=(index.inputs[TOKENS],), outputs=self.outputs(index))

    def labels(self, index: Index) -> list[str]:
        return []

    def objective(self, loss: Loss, index: Index) -> Objective:
        compare = loss.build([], "logits")

        def both_ways(inputs: Any, targets: Any, outputs: Any) -> Any:
            cosines = _cosines(outputs) / self.temperature
            partners = tf.eye(tf.shape(cosines)[0])
            return (compare(partners, cosines) + compare(partners, tf.transpose(cosines))) / 2

        return both_ways

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"found_in_batch": _found}

    def learner(self, library: Any) -> type:
        return side_by_side(library, TOKENS, SECOND)

    def measure(self, index: Index) -> Measure:
        return retrieval.Retrieval(EMBEDDING, OTHER, SOUGHT)

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the embeddings of both texts of each pair; of texts alone theirs."""
        answers = predictor.predict({TOKENS: inputs[TOKENS]})
        if SECOND in inputs:
            answers[OTHER] = predictor.predict({TOKENS: inputs[SECOND]})[EMBEDDING]
        return answers

    def notes(self, data: Data) -> list[str]:
        return text_files.notes(data, TOKENS)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with what the words of the texts find."""
        return evaluation.model_copy(update={"baselines": retrieval.by_words(data, TOKENS, SOUGHT)})

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of tokens and `serving_bytes` of texts, to embeddings."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [*functions, text_serving.of_text(functions[0], data)]

    def calibration(self, inputs: Arrays, load: Callable[[], keras.Model]) -> list[tuple[str, Arrays]]:
        """Return both texts of training pairs, half of each."""
        count = (len(inputs[TOKENS]) + 1) // 2
        return [(DEFAULT, {TOKENS: np.concatenate([inputs[TOKENS][:count], inputs[SECOND][count:]])})]

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        return text_files.rows(path, {TOKENS: features[TOKENS]}, index, None)

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        """Return the beginning of each embedding."""
        return ["  ".join(f"{value:+.3f}" for value in row[:4]) + " …" for row in outputs[EMBEDDING]]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It makes vectors of texts; {evaluation.metrics['recall_at_1']:.2%} of the held-out texts find their "
                "partner as the nearest of all.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return f"cosine {1 - wrong:.2f}"


def _cosines(outputs: Any) -> Any:
    """Return the cosine of each first text with each second one, (pairs, pairs)."""
    first, second = tf.split(outputs[EMBEDDING], 2, axis=0)
    return tf.matmul(first, second, transpose_b=True)


def _found(targets: Any, outputs: Any) -> Any:
    """Return 1 for each first text whose partner is the nearest in its batch, (pairs,)."""
    cosines = _cosines(outputs)
    return tf.cast(tf.argmax(cosines, axis=1) == tf.range(tf.shape(cosines)[0], dtype=tf.int64), tf.float32)
