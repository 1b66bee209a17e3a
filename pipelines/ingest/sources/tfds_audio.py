"""Sets of recordings of TensorFlow Datasets: speech_commands, librispeech, common_voice and any other."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy
from pydantic import Field as Setting

from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.manifest import TRANSCRIPTS
from pipelines.ingest.sources.tfds_source import TfdsSource

with epy.lazy_imports():
    import tensorflow as tf
    import tensorflow_datasets as tfds

AUDIO, TRANSCRIPT = "audio", "transcript"
#: What whole numbers of a recording are divided by: they have 16 bits.
FULL_SCALE = 32768.0


class TfdsAudio(TfdsSource, name="tfds_audio", shorthand="name"):
    """Any set of TensorFlow Datasets with recordings, by name: `{tfds_audio: speech_commands}`.

    Its recording is the field `audio`, at the rate that the set states, and a text called text, sentence, transcript or
    transcription the field `transcript`, whatever the set calls them; the others keep their names.

    Args:
        train_on, validate_on: the splits where they are not called train and validation, as those of librispeech.
        rate: samples a second of the recordings, where the set does not state it, as common_voice.
    """

    train_on: str | None = Setting(None, min_length=1)
    validate_on: str | None = Setting(None, min_length=1)
    rate: int | None = Setting(None, ge=1000, le=192_000)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self.train_on or ''} {self.validate_on or ''} {self.rate or ''}"

    def parts(self) -> list[Part]:
        known, listed = self.builder().info.splits, ", ".join(self.builder().info.splits)
        for setting in ("train_on", "validate_on", "test_on"):
            name = getattr(self, setting)
            if name is not None and name not in known:
                raise UserError(f"data.source.tfds_audio.{setting}: {self.name} has no split {name}; it has {listed}")
        if self._split("train") not in known:
            raise UserError(f"data.source.tfds_audio: {self.name} has no split called train; it has {listed}. Name one "
                            "with train_on, and others with validate_on and test_on")
        own = self.validate_on is not None or self.test_on is None  # else validated on a share of what is trained on
        there: dict[Part, bool] = {"train": True, "validation": own, "test": True}
        return [part for part, chosen in there.items() if chosen and self._split(part) in known]

    def _split(self, part: Part) -> str:
        named: dict[Part, str | None] = {"train": self.train_on, "validation": self.validate_on}
        return named.get(part) or super()._split(part)

    def fields(self) -> dict[str, Field]:
        self._recording()
        described = {name: field for name, field in self._described().items() if field.kind in ("class", "text")}
        return described | {AUDIO: Field(kind="bytes")}

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part, recordings as WAV files of 16 bits; an example's id is train#0 and so on."""
        stated = self._recording().sample_rate
        rate = stated or self.rate
        if not rate:
            raise UserError(f"data.source.tfds_audio: {self.name} does not state the rate of its recordings; say it "
                            "with rate, as in rate: 48000")
        if self.rate not in (None, rate):
            raise UserError(f"data.source.tfds_audio.rate: {self.name} states {stated:,} samples a second; leave rate "
                            "out")

        def as_file(example: Any) -> Any:
            samples = tf.cast(example[AUDIO], tf.float32)
            samples = samples / FULL_SCALE if example[AUDIO].dtype.is_integer else samples
            samples = samples[:, None] if samples.shape.rank == 1 else samples
            return {**example, AUDIO: tf.audio.encode_wav(samples, rate)}

        return super().examples(part, positions).map(as_file, num_parallel_calls=tf.data.AUTOTUNE)

    def without(self, field: str) -> str | None:
        info = self.builder().info
        return f"data.source: {info.full_name} has no {field}; its features are {', '.join(info.features)}"

    def _recording(self) -> Any:
        """Return the set's feature of recordings. Raises UserError where there is none, or several."""
        info = self.builder().info
        recordings = [feature for feature in info.features.values() if isinstance(feature, tfds.features.Audio)]
        if len(recordings) != 1:
            raise UserError(f"data.source.tfds_audio: {info.full_name} has {len(recordings) or 'no'} recordings in an "
                            f"example; its features are {', '.join(info.features)}")
        return recordings[0]

    def _paths(self) -> dict[str, tuple[str, ...]]:
        features = self.builder().info.features
        paths = dict(super()._paths())
        for field, path in list(paths.items()):
            if path[-1] in features and isinstance(features[path[-1]], tfds.features.Audio):
                paths[AUDIO] = paths.pop(field)
        text = next((name for name in TRANSCRIPTS if name in paths), None)
        if text is not None:
            paths[TRANSCRIPT] = paths.pop(text)
        return paths
