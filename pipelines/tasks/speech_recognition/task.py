"""Speech recognition: what is said in a recording, character by character, learnt by CTC."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, PrivateAttr

from export.signature import Arrays, Tensor
from pipelines.errors import UserError
from pipelines.features import audio, audio_file
from pipelines.features.audio import Audio
from pipelines.features.feature import Field as SourceField
from pipelines.features.transcript import Transcript, plain, repeats, text_of
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks.speech_recognition import decoding
from pipelines.tasks.speech_recognition.decoding import CharacterModel
from pipelines.tasks.speech_recognition.measure import Transcription
from pipelines.tasks.task import Evaluation, Features, Metric, Task
from pipelines.training.ctc_loss import CtcLoss
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss

with epy.lazy_imports():
    import jiwer
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data

AUDIO, TRANSCRIPT, OUTPUT = "audio", "transcript", "logits"


class SpeechRecognition(Task, name="speech_recognition"):
    """What is said in a recording.

    A model gives for each frame logits of the characters and of the blank, which is number 0: no probabilities.

    Args:
        frame: seconds of sound that stand for one frame of the model's answer; a transcript must fit into the frames of
            its recording.
        beam: texts that a beam search follows; 0 takes the best character of each frame.
        weight: of what the character n-grams say, see `data.transcript.ngram`, in a beam search.
        bonus: for each character in a beam search.
    """

    inputs, targets, split = {AUDIO: Audio}, {TRANSCRIPT: Transcript}, "random"
    metrics = (Metric(name="character_error_rate", label="CER", better="lower"),
               Metric(name="word_error_rate", label="WER", better="lower"),
               Metric(name="exact", label="exact", shown=False))
    watched = (Metric(name="character_error_rate", label="CER", better="lower"),)
    loss, ranked, real_inputs = "ctc", True, True
    worst_caption = "The best, the median and the worst test recordings by their character error rate"
    frame: float = Field(0.02, gt=0, le=1)
    beam: int = Field(0, ge=0, le=1000)
    weight: float = Field(0.5, ge=0)
    bonus: float = Field(1.0, ge=0)
    _seconds: float | None = PrivateAttr(None)

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return the recording and the transcript; the task takes note of how long recordings may be."""
        inputs, targets = super().features_of(section, fields)
        recording = inputs[AUDIO]
        assert isinstance(recording, Audio)
        self._seconds = recording.seconds
        return inputs, targets

    def fault(self, example: Mapping[str, Any]) -> str | None:
        """Return why a transcript does not fit its recording: CTC needs a frame for each character, and one more
        between two that are the same."""
        text = plain(_text(example[TRANSCRIPT]))
        try:
            content = audio.content(example[AUDIO])
            seconds = audio_file.header(content).seconds
            if audio_file.is_silent(content):
                return "has a transcript, and no sound: take it out"
        except ValueError:
            return None  # it is named as unreadable
        if self._seconds is not None and seconds > self._seconds:
            return (f"lasts {seconds:.2f} seconds, and the model is given {self._seconds:g}, so that its transcript "
                    "would not fit: raise data.audio.seconds, or leave what is longer out, by "
                    "data.source.recordings.longest")
        frames, needed = int(seconds / self.frame), len(text) + repeats(text)
        if frames < needed:
            return (f"has a transcript of {len(text)} characters, which needs {needed} frames, and {seconds:.2f} "
                    f"seconds of sound, which have {frames}: correct it, or take the recording out")
        return None

    def dimensions(self, index: Index) -> dict[str, Any]:
        return {**audio.dimensions(index.learnt[AUDIO]), "classes": len(index.names(TRANSCRIPT))}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        return (Tensor(name=OUTPUT, dtype="float32", shape=(None, len(index.names(TRANSCRIPT))), role="logits",
                       meaning="of each frame one per character, in the order of labels.txt, the blank first; a text "
                               "is the best of each frame, repeated ones once, blanks left out"),)

    def objective(self, loss: Loss, index: Index) -> Objective:
        if not isinstance(loss, CtcLoss):
            raise UserError(f"train.loss: {loss.entry_name} is not for transcripts; leave it out, or give ctc")
        known = index.learnt[AUDIO].statistics
        seconds = known[audio.SAMPLES][0] / known[audio.RATE][0]

        def compare(inputs: Any, targets: Any, outputs: Any) -> Any:
            frames = outputs[OUTPUT].shape[1]
            if frames is not None and seconds / frames > self.frame * 1.1:
                raise UserError(f"task.speech_recognition.frame: the model gives {frames} frames for {seconds:g} "
                                f"seconds, {seconds / frames:.3f} seconds each, and frame is {self.frame:g}: give "
                                "that, or a model of shorter ones")
            return loss.of_frames(targets[TRANSCRIPT], outputs[OUTPUT])

        return compare

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"character_error_rate": lambda targets, outputs: error_rate(targets[TRANSCRIPT], outputs[OUTPUT])}

    def measure(self, index: Index) -> Transcription:
        return Transcription(index.names(TRANSCRIPT), TRANSCRIPT, lambda outputs: self.texts(outputs, index))

    def texts(self, outputs: Arrays, index: Index) -> list[str]:
        """Return the text of each recording out of what a network gives."""
        learnt = index.learnt[TRANSCRIPT]
        if not self.beam:
            return [text_of(decoding.greedy(one), learnt.names) for one in outputs[OUTPUT]]
        counts = {sequence: count for sequence, (count,) in learnt.statistics.items()}
        model = CharacterModel(counts, learnt.names) if counts else None
        return [text_of(decoding.beam(one, self.beam, model, learnt.names, weight=self.weight, bonus=self.bonus),
                        learnt.names) for one in outputs[OUTPUT]]

    def notes(self, data: Data) -> list[str]:
        return audio.notes(AUDIO, data.index.learnt)

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with the rates without a beam search, where there is one."""
        if not self.beam:
            return evaluation
        alone = self.model_copy(update={"beam": 0})
        measure = alone.measure(data.index)
        for inputs, targets in data.batches("test"):
            measure.add(targets, predictor.predict(inputs))
        return evaluation.model_copy(update={"baselines": {"greedy": measure.result().metrics}})

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return self.texts(outputs, index)

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        known = evaluation.metrics
        return (f"It writes down what is said; on the held-out test recordings {known['character_error_rate']:.1%} of "
                f"the characters and {known['word_error_rate']:.1%} of the words must be changed.")

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        said = text_of(targets[TRANSCRIPT][position], data.index.names(TRANSCRIPT))
        answered = self.texts({OUTPUT: outputs[OUTPUT][position:position + 1]}, data.index)[0]
        return f"{said[:60]}\n{answered[:60]}"

    def expected(self, outputs: Arrays, index: Index) -> dict[str, str]:
        return {"text": self.texts(outputs, index)[0]}


def error_rate(labels: Any, logits: Any) -> Any:
    """Return the share of each transcript's characters that must be changed, (batch,), decoded greedily."""
    def rates(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.array([_rate(true[true != 0].tolist(), decoding.greedy(one))
                         for true, one in zip(labels, logits, strict=True)], "float32")

    return tf.ensure_shape(tf.numpy_function(rates, [labels, logits], tf.float32), (None,))


def _rate(true: list[int], answered: list[int]) -> float:
    written, other = ("".join(map(chr, (number + 256 for number in numbers))) for numbers in (true, answered))
    return float(jiwer.cer(written, other)) if written else 0.0


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
