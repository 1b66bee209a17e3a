"""Sets of recordings of TensorFlow Datasets: speech_commands, librispeech, common_voice and any other."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epy

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
    """

    def fields(self) -> dict[str, Field]:
        self._recording()
        described = {name: field for name, field in self._described().items() if field.kind in ("class", "text")}
        return described | {AUDIO: Field(kind="bytes")}

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        """Return the examples of a part, recordings as WAV files of 16 bits; an example's id is train#0 and so on."""
        rate = self._recording().sample_rate
        if not rate:
            raise UserError(f"data.source.tfds_audio: {self.name} does not state the rate of its recordings; write "
                            "them into files, and give {recordings: LIST}")

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
