"""Text classification: one class per text."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function
from pipelines.features.outcome import Outcome
from pipelines.features.text import Text
from pipelines.ingest.index import Index
from pipelines.ingest.sources.source import Source
from pipelines.tasks import text_baselines, text_files, text_serving
from pipelines.tasks.classes import ClassMeasure, Row
from pipelines.tasks.classification import LABEL, Classification
from pipelines.tasks.task import Evaluation, Features, Place

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    import keras

    from export.predictors import Predictor
    from pipelines.ingest.data import Data

TOKENS = "tokens"


class TextClassification(Classification, name="text_classification"):
    """One class per text: its sentiment, topic or language."""

    inputs, targets = {TOKENS: Text}, {LABEL: Outcome}
    baselines = text_baselines.NAMES

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {"length": index.inputs[TOKENS].shape[0], "vocabulary": len(index.learnt[TOKENS].names),
                "classes": len(index.names(LABEL))}

    def measure(self, index: Index) -> TextClassMeasure:
        return TextClassMeasure(index.names(LABEL), LABEL)

    def notes(self, data: Data) -> list[str]:
        """Return how many texts are cut off, and how much the vocabulary lacks, in the training split."""
        return text_files.notes(data, TOKENS)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with scikit-learn's baselines."""
        return evaluation.model_copy(update={"baselines": text_baselines.measured(data, TOKENS, LABEL)})

    def rows_of(self, path: Path, features: Features, index: Index,
                like: Source | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
        return text_files.rows(path, features, index, like)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of tokens and `serving_bytes` of texts, to logits and scores."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [*functions, text_serving.of_text(functions[0], data)]

    def files(self, data: Data) -> Mapping[str, bytes]:
        return text_files.shipped(data, TOKENS)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        return (f"It tells {len(index.names(LABEL))} classes of texts apart by their first "
                f"{index.inputs[TOKENS].shape[0]} tokens, and answers {evaluation.metrics['accuracy']:.2%} of the "
                "held-out test texts correctly.")


class TextClassMeasure(ClassMeasure):
    """What a classifier of texts is worth."""

    def values(self, logits: np.ndarray, labels: np.ndarray, f1: np.ndarray) -> dict[str, Any]:
        return {"accuracy": (logits.argmax(axis=1) == labels).mean(), "macro_f1": f1.mean()}

    def limits(self, rows: Sequence[Row]) -> list[str]:
        return ["It always answers one of its classes, whatever the text says, and reads no words but those of its "
                "vocabulary: texts in another language are guessed.",
                "The figures hold for texts like those of the test set: of the same kind, length and time."]
