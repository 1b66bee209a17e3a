"""Speech recognition: what goes together, what is learnt and what it is worth."""
import jiwer
import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.features.transcript import numbered
from pipelines.tasks.speech_recognition import SpeechRecognition
from pipelines.tasks.speech_recognition.task import error_rate
from pipelines.training.ctc_loss import CtcLoss
from pipelines.training.losses import Loss
from tests.pipelines.ingest.conftest import data_of, index_of

TEXTS = ["ab", "ba", "aab", "b a", "abab"] * 4


@pytest.fixture
def source(tmp_path):
    """Return the source of twenty recordings of half a second: a low tone for a, a high one for b."""
    lines = ["file,text"]
    for number, text in enumerate(TEXTS):
        tones = [0.3 * np.sin(2 * np.pi * {"a": 300, "b": 1200, " ": 0}[letter] * np.arange(1600) / 16_000)
                 for letter in text]
        soundfile.write(tmp_path / f"{number}.wav", np.pad(np.concatenate(tones), (0, 1600)), 16_000)
        lines.append(f"{number}.wav,{text}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return {"recordings": str(tmp_path / "list.csv")}


def index(source, **settings):
    return index_of(source, SpeechRecognition(**settings), audio={"seconds": 0.6}, transcript={"most": 10}, batch=4)


def test_examples_are_samples_and_characters(source):
    task = SpeechRecognition()
    data = data_of(source, task, audio={"seconds": 0.6}, transcript={"most": 10, "ngram": 2}, batch=4)
    assert data.index.names("transcript") == ["(blank)", " ", "a", "b"] and task.labels(data.index)[0] == "(blank)"
    assert task.dimensions(data.index) == {"samples": 9600, "rate": 16_000, "classes": 4}
    inputs, targets = next(data.training(0, 1).as_numpy_iterator())
    assert inputs["audio"].shape == (4, 9600)
    assert targets["transcript"].dtype == np.int32 and targets["transcript"].shape == (4, 10)


@pytest.mark.parametrize(("text", "seconds", "reason"), [
    ("aaaa", 0.1, "has a transcript of 4 characters, which needs 7 frames, and 0.10 seconds of sound, which have 5"),
    ("abab", 0.1, None),
    ("ab", 0.7, "lasts 0.70 seconds, and the model is given 0.6, so that its transcript would not"),
    ("", 0.5, "has a transcript without a letter or a digit")])
def test_a_transcript_that_does_not_fit_its_recording_is_refused(tmp_path, source, text, seconds, reason):
    soundfile.write(tmp_path / "odd.wav", np.full(round(16_000 * seconds), 0.1), 16_000)
    with (tmp_path / "list.csv").open("a") as file:
        file.write(f"\nodd.wav,{text}")
    if reason is None:
        assert index(source).splits["train"].examples
        return
    with pytest.raises(UserError, match=rf"odd\.wav {reason}"):
        index(source)


def test_a_transcript_of_silence_is_refused(tmp_path, source):
    soundfile.write(tmp_path / "3.wav", np.zeros(8000), 16_000)
    with pytest.raises(UserError, match=r"3\.wav has a transcript, and no sound: take it out"):
        index(source)


def test_a_transcript_with_no_sound_is_counted_as_unreadable(tmp_path, source):
    (tmp_path / "0.wav").write_bytes(b"")
    result = index(source)
    assert [one.reason for one in result.unreadable] == ["empty file"]


def test_a_character_that_training_lacks_is_named(tmp_path, source):
    test_row = "\n".join([*(tmp_path / "list.csv").read_text().splitlines()[:19], "19.wav,xyz"])
    (tmp_path / "list.csv").write_text(test_row)
    with pytest.raises(UserError, match=r"19\.wav has the character 'x', which is in no training transcript"):
        index({"recordings": {"path": source["recordings"], "test": {"text": ["xyz"]}}})


def test_the_loss_is_kerass_of_logits_a_characters_share_of_it():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 12, 4)).astype("float32")
    labels = np.array([[1, 2, 0, 0], [3, 3, 1, 0], [2, 0, 0, 0]], "int32")
    lengths = (labels != 0).sum(axis=1)
    expected = keras.ops.ctc_loss(labels, logits, lengths.astype("int32"), np.full(3, 12, "int32"), mask_index=0)
    np.testing.assert_allclose(CtcLoss().of_frames(tf.constant(labels), tf.constant(logits)),
                               np.asarray(expected) / lengths, rtol=1e-5)


def test_the_loss_of_two_frames_is_the_closed_form():
    scores = np.log(np.array([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]], "float32"))
    ways = 0.3 * 0.6 + 0.3 * 0.1 + 0.5 * 0.6  # 1 1, 1 blank, blank 1
    loss = CtcLoss().of_frames(tf.constant([[1, 0]]), tf.constant(scores))
    assert loss.numpy()[0] == pytest.approx(-np.log(ways), rel=1e-5)


def test_a_model_of_longer_frames_than_the_task_says_is_refused(source):
    task = SpeechRecognition()
    objective = task.objective(CtcLoss(), index(source))
    targets = {"transcript": tf.constant([[2, 3, 0]])}
    assert np.isfinite(objective({}, targets, {"logits": tf.zeros((1, 30, 4))}).numpy()).all()
    with pytest.raises(UserError, match=r"the model gives 15 frames for 0\.6 seconds, 0\.040 seconds each, and"):
        objective({}, targets, {"logits": tf.zeros((1, 15, 4))})


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_other_losses_are_refused(source, name):
    with pytest.raises(UserError, match=f"train.loss: {name} is not for transcripts; leave it out, or give ctc"):
        SpeechRecognition().objective(Loss.read(name), index(source))


def test_ctc_is_for_transcripts_alone():
    with pytest.raises(UserError, match=r"ctc is for speech_recognition alone"):
        CtcLoss().build([], "logits")


def test_rates_are_over_all_characters_and_words(source):
    task, known = SpeechRecognition(), index(source)
    names = known.names("transcript")
    said, answered = ["ab", "b a", "abab"], ["ab", "ba", "bbab"]
    labels = np.zeros((3, 10), "int32")
    logits = np.zeros((3, 20, 4), "float32")
    for row, (text, answer) in enumerate(zip(said, answered, strict=True)):
        labels[row, :len(text)] = numbered(text, names)
        for frame, number in enumerate(numbered(answer, names)):
            logits[row, 2 * frame, number] = 9
        logits[row, 1::2, 0] = 9
        logits[row, 2 * len(answer):, 0] = 9
    measure = task.measure(known)
    wrong = measure.add({"transcript": labels}, {"logits": logits})
    np.testing.assert_allclose(wrong, [0, 1 / 3, 1 / 4])
    np.testing.assert_allclose(error_rate(tf.constant(labels), tf.constant(logits)), wrong, rtol=1e-6)
    metrics = measure.result().metrics
    assert metrics["character_error_rate"] == pytest.approx(2 / 9, abs=1e-6)
    assert metrics["word_error_rate"] == pytest.approx(jiwer.wer(said, answered), abs=1e-6)
    assert metrics["exact"] == pytest.approx(1 / 3, abs=1e-6)
    assert task.in_words({"logits": logits}, known) == answered
    assert task.expected({"logits": logits[:1]}, known) == {"text": "ab"}
