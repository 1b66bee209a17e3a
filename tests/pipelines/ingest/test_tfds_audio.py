"""Sets of recordings of TensorFlow Datasets, on builders written here."""
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipelines.errors import UserError
from pipelines.ingest import Source
from pipelines.tasks.audio_classification import AudioClassification
from pipelines.tasks.speech_recognition import SpeechRecognition
from tests.pipelines.ingest.conftest import data_of

COUNT = 20


def samples(number):
    return np.full(4000 + 100 * number, 1000 * (number % 2) - 500, "int64")


class SpokenWords(tfds.core.GeneratorBasedBuilder):
    """Recordings with a class, as speech_commands has them, and a text, as librispeech and common_voice do."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "speech": features.Audio(sample_rate=8000, file_format="wav"), "label": features.ClassLabel(
                names=["low", "high"]), "sentence": features.Text(), "speaker_id": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(COUNT):
            yield number, {"speech": samples(number), "label": number % 2, "speaker_id": number,
                           "sentence": ("low", "high")[number % 2]}


class Unknown(SpokenWords):
    """Recordings at a rate that the set does not state."""

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            "speech": tfds.features.Audio(), "label": tfds.features.ClassLabel(num_classes=2)}))

    def _generate_examples(self):
        for number in range(COUNT):
            yield number, {"speech": samples(number), "label": number % 2}


class ReadBooks(SpokenWords):
    """Sentences, and splits and features as those of librispeech."""

    def _info(self):
        features = tfds.features
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "speech": features.Audio(sample_rate=8000, dtype=np.int16), "text": features.Text(),
            "speaker_id": np.int64, "id": features.Text()}))

    def _split_generators(self, dl_manager):
        return {"train_clean100": self._books(COUNT), "dev_clean": self._books(4), "test_clean": self._books(4)}

    def _books(self, count):
        for number in range(count):
            yield number, {"speech": samples(number)[:3900].astype("int16"), "text": "low", "speaker_id": number,
                           "id": f"{number}-1"}


@pytest.fixture
def source(tmp_path):
    return {"tfds_audio": {"name": "spoken_words", "data_dir": str(tmp_path)}}


def test_recordings_are_classified(source):
    data = data_of(source, AudioClassification(), audio={"seconds": 0.5}, batch=4)
    assert data.index.names("label") == ["low", "high"]
    inputs, targets = data.arrays("train", 6)
    np.testing.assert_allclose(inputs["audio"][:, 3000] * 32768, np.where(targets["label"] == 1, 500, -500), atol=2)
    assert any("resampled from 8,000 to 16,000 Hz" in note for note in data.task.notes(data))


def test_what_is_said_is_the_transcript(source):
    data = data_of(source, SpeechRecognition(), audio={"seconds": 1.0}, transcript={"most": 5}, batch=4)
    _, targets = data.arrays("test", 4)
    names = data.index.names("transcript")
    assert {data.features["transcript"].in_words(one, data.index.learnt["transcript"])
            for one in targets["transcript"]} <= {"low", "high"} and len(names) == 1 + len(set("low high"))


def test_a_rate_that_is_not_stated_is_refused(tmp_path):
    source = {"name": "unknown", "data_dir": str(tmp_path)}
    with pytest.raises(UserError, match=r"unknown does not state the rate of its recordings; say it with rate"):
        data_of({"tfds_audio": source}, AudioClassification())
    data = data_of({"tfds_audio": {**source, "rate": 8000}}, AudioClassification(), audio={"seconds": 0.5}, batch=4)
    assert any("resampled from 8,000 to 16,000 Hz" in note for note in data.task.notes(data))


def test_a_rate_that_the_set_states_is_not_changed(source):
    source["tfds_audio"]["rate"] = 16000
    with pytest.raises(UserError, match=r"rate: spoken_words states 8,000 samples a second; leave rate out"):
        data_of(source, AudioClassification())


def test_splits_of_other_names_are_named(tmp_path):
    source = {"name": "read_books", "data_dir": str(tmp_path)}
    with pytest.raises(UserError, match=r"no split called train; it has .*dev_clean.* Name one with train_on"):
        data_of({"tfds_audio": source}, SpeechRecognition())
    named = {"train_on": "train_clean100", "validate_on": "dev_clean", "test_on": "test_clean"}
    data = data_of({"tfds_audio": {**source, **named}}, SpeechRecognition(), audio={"seconds": 0.5},
                   transcript={"most": 5}, batch=4)
    assert [split.examples for split in data.index.splits.values()] == [COUNT, 4, 4]
    with pytest.raises(UserError, match=r"validate_on: read_books has no split dev; it has .*dev_clean"):
        data_of({"tfds_audio": {**source, **named, "validate_on": "dev"}}, SpeechRecognition())


@pytest.mark.parametrize(("name", "field"), [
    ("speech_commands", "label"), ("librispeech", "transcript"), ("common_voice", "transcript")])
def test_the_known_sets_have_a_recording_and_what_is_learnt(name, field, tmp_path):
    fields = Source.read({"tfds_audio": {"name": name, "data_dir": str(tmp_path)}}).fields()
    assert fields["audio"].kind == "bytes" and fields[field].kind == ("class" if field == "label" else "text")


def test_a_set_without_recordings_is_refused(tmp_path):
    source = Source.read({"tfds_audio": {"name": "mnist", "data_dir": str(tmp_path)}})
    with pytest.raises(UserError, match="has no recordings in an example; its features are image, label"):
        source.fields()
