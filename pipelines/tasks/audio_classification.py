"""Audio classification: one class per recording, for instance a spoken word, a language or a speaker."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.features import audio
from pipelines.features.audio import Audio
from pipelines.features.label import Label
from pipelines.ingest.index import Index
from pipelines.tasks.classes import Row
from pipelines.tasks.classification import LABEL, Classification
from pipelines.tasks.image_classification import METRICS, ImageClassMeasure
from pipelines.tasks.task import Evaluation

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

AUDIO = "audio"


class AudioClassification(Classification, name="audio_classification"):
    """One class per recording: a word, a language, who speaks, what is heard.

    Models take raw samples. Integer files have an integer network behind a front end in real numbers: the power of
    sound spans more decades than eight bits have.
    """

    inputs, targets = {AUDIO: Audio}, {LABEL: Label}
    metrics = METRICS
    real_inputs = True

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {**audio.dimensions(index.learnt[AUDIO]), "classes": len(index.names(LABEL))}

    def measure(self, index: Index) -> AudioClassMeasure:
        return AudioClassMeasure(index.names(LABEL), LABEL)

    def notes(self, data: Data) -> list[str]:
        return audio.notes(AUDIO, data.index.learnt)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = index.learnt[AUDIO].statistics
        rate, samples = known[audio.RATE][0], known[audio.SAMPLES][0]
        return (f"It tells {len(index.names(LABEL))} classes apart in {samples / rate:g} seconds of sound at "
                f"{rate:,.0f} Hz, and answers {evaluation.metrics['accuracy']:.2%} of the held-out test recordings "
                "correctly.")


class AudioClassMeasure(ImageClassMeasure):
    """What a classifier of recordings is worth."""

    def limits(self, rows: Sequence[Row]) -> list[str]:
        weakest = sorted(rows, key=lambda row: row[4])[:3]
        return [f"Weakest classes (F1): {', '.join(f'{row[0]} {row[4]:.3f}' for row in weakest)}.",
                "It always answers one of its classes, whatever is heard, silence too: other sounds than those it was "
                "trained on need a check of their own, for instance a threshold on the probability.",
                "The figures hold for voices, rooms and microphones like the test set's. Others must be measured "
                "first."]
