"""What tasks have in common that give an example one class by logits: of texts, of sound, of series."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from export.signature import Arrays, Function, Tensor
from pipelines.ingest.index import Index
from pipelines.tasks import classes
from pipelines.tasks.classes import OUTPUT
from pipelines.tasks.task import Metric, Place, Task

if TYPE_CHECKING:
    import keras
    import numpy as np

    from pipelines.ingest.data import Data

LABEL = "label"


class Classification(Task):
    """One class per example; its target is `label`."""

    pairs = {OUTPUT: LABEL}
    metrics: ClassVar[tuple[Metric, ...]] = (Metric(name="accuracy"), Metric(name="macro_f1", label="macro F1"))
    watched = (Metric(name="accuracy"),)
    worst_caption: ClassVar[str] = "The wrong answers that the model was surest of"

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(len(index.names(LABEL)),), role="logits",
                       meaning="one per class, in the order of labels.txt; their softmax are the probabilities"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": classes.accuracy(LABEL)}

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, logits with their scores."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [classes.with_scores(function) for function in functions]

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return classes.in_words(outputs[OUTPUT], index.names(LABEL))

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return classes.title(outputs[OUTPUT][position], int(targets[LABEL][position]), data.index.names(LABEL))

    def decision(self, outputs: Arrays) -> np.ndarray:
        return classes.decision(outputs)

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"class": index.names(LABEL)[int(outputs[OUTPUT][0].argmax())]}
