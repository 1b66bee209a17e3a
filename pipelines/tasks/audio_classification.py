"""Audio classification: one class per recording, for instance a spoken word, a language or a speaker."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from export.signature import Arrays, Function, Tensor
from pipelines.features import audio
from pipelines.features.audio import Audio
from pipelines.features.label import Label
from pipelines.ingest.index import Index
from pipelines.tasks import classes
from pipelines.tasks.classes import OUTPUT, Row
from pipelines.tasks.image_classification import METRICS, ImageClassMeasure
from pipelines.tasks.task import Evaluation, Metric, Place, Task

if TYPE_CHECKING:
    import keras
    import numpy as np

    from pipelines.ingest.data import Data

AUDIO, LABEL = "audio", "label"


class AudioClassification(Task, name="audio_classification"):
    """One class per recording: a word, a language, who speaks, what is heard.

    Models take raw samples. Integer files have an integer network behind a front end in real numbers: the power of
    sound spans more decades than eight bits have.
    """

    inputs, targets, pairs = {AUDIO: Audio}, {LABEL: Label}, {OUTPUT: LABEL}
    metrics = METRICS
    watched = (Metric(name="accuracy"),)
    real_inputs = True
    worst_caption: ClassVar[str] = "The wrong answers that the model was surest of"

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {**audio.dimensions(index.learnt[AUDIO]), "classes": len(index.names(LABEL))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(len(index.names(LABEL)),), role="logits",
                       meaning="one per class, in the order of labels.txt; their softmax are the probabilities"),)

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"accuracy": classes.accuracy(LABEL)}

    def measure(self, index: Index) -> AudioClassMeasure:
        return AudioClassMeasure(index.names(LABEL), LABEL)

    def notes(self, data: Data) -> list[str]:
        return audio.notes(AUDIO, data.index.learnt)

    def functions(self, model: keras.Model, data: Data, place: Place) -> list[Function]:
        """Return, for a server, `serving_default` of samples and `serving_bytes` of WAV files, to logits and scores."""
        functions = super().functions(model, data, place)
        return functions if place == "device" else [classes.with_scores(function) for function in functions]

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return classes.in_words(outputs[OUTPUT], index.names(LABEL))

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = index.learnt[AUDIO].statistics
        rate, samples = known[audio.RATE][0], known[audio.SAMPLES][0]
        return (f"It tells {len(index.names(LABEL))} classes apart in {samples / rate:g} seconds of sound at "
                f"{rate:,.0f} Hz, and answers {evaluation.metrics['accuracy']:.2%} of the held-out test recordings "
                "correctly.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return classes.title(outputs[OUTPUT][position], int(targets[LABEL][position]), data.index.names(LABEL))

    def decision(self, outputs: Arrays) -> np.ndarray:
        return classes.decision(outputs)

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"class": index.names(LABEL)[int(outputs[OUTPUT][0].argmax())]}


class AudioClassMeasure(ImageClassMeasure):
    """What a classifier of recordings is worth."""

    def limits(self, rows: Sequence[Row]) -> list[str]:
        weakest = sorted(rows, key=lambda row: row[4])[:3]
        return [f"Weakest classes (F1): {', '.join(f'{row[0]} {row[4]:.3f}' for row in weakest)}.",
                "It always answers one of its classes, whatever is heard, silence too: other sounds than those it was "
                "trained on need a check of their own, for instance a threshold on the probability.",
                "The figures hold for voices, rooms and microphones like the test set's. Others must be measured "
                "first."]
