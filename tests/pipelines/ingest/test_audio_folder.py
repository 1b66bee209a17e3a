"""Folders of recordings, one folder per class."""
import numpy as np
import pytest
import soundfile

from pipelines.errors import UserError
from pipelines.tasks.audio_classification import AudioClassification
from tests.pipelines.ingest.conftest import data_of, index_of


def put(folder, count, hertz, rate=16_000):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate)
        ending = ("wav", "flac", "ogg")[number % 3]
        soundfile.write(folder / f"{number}.{ending}", samples, rate)


def test_a_folder_per_class_becomes_samples_and_labels(tmp_path):
    put(tmp_path / "high", 10, 2000)
    put(tmp_path / "low", 10, 200, 8000)
    (tmp_path / "low" / "._0.wav").write_bytes(b"left")
    (tmp_path / "low" / "old.m4a").write_bytes(b"not read")
    data = data_of({"audio_folder": str(tmp_path)}, AudioClassification(), audio={"seconds": 0.5}, batch=4,
                   max_unreadable=0.1)
    assert data.index.names("label") == ["high", "low"]
    assert [one.name for one in data.index.unreadable] == [str(tmp_path / "low" / "old.m4a")]
    inputs, targets = data.arrays("train", 14)
    spectrum = abs(np.fft.rfft(inputs["audio"]))
    loudest = spectrum.argmax(axis=1) * 16_000 / 8000
    np.testing.assert_allclose(loudest, np.where(targets["label"] == 0, 2000, 200), atol=4)
    notes = data.task.notes(data)
    assert any("resampled from 8,000 to 16,000 Hz" in note for note in notes)


@pytest.mark.parametrize(("folders", "reason"), [
    (("one",), "audio_folder.path: .* needs one folder per class, at least two"),
    (("train/a", "train/b", "test/c"), "has classes that the training part lacks: c")])
def test_folders_that_make_no_classes_are_refused(tmp_path, folders, reason):
    for folder in folders:
        put(tmp_path / folder, 4, 300)
    with pytest.raises(UserError, match=reason):
        index_of({"audio_folder": str(tmp_path)}, AudioClassification())


def test_a_class_without_recordings_is_named(tmp_path):
    put(tmp_path / "a", 4, 300)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"class b has no recordings in .*b .WAV, FLAC, OGG"):
        index_of({"audio_folder": str(tmp_path)}, AudioClassification())
