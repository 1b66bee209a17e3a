"""Golden samples are read as they were written: numbers, images, files of other kinds, arrays too large for a list."""
import json

import numpy as np
import pytest

from export.delivery import golden, samples
from export.delivery.samples import Sample
from pipelines.features.image import Image

GENERATOR = np.random.default_rng(0)


def image(channels=3):
    return GENERATOR.integers(0, 256, (6, 5, channels)).astype("uint8")


def png(pixels):
    return Image(size=pixels.shape[:2]).encode(pixels)


def sample(inputs, outputs, files=None, targets=None, words=None):
    return Sample(inputs=inputs, files=files or {}, targets=targets or {}, outputs=outputs, words=words or {})


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_listed_as_they_always_were(tmp_path, channels):
    pixels = [image(channels) for _ in range(2)]
    logits = np.array([1.2345678, -2.0, 0.0], "float32")
    outputs = {"keras": {"logits": logits}, "int8": {"logits": logits + 1}}
    words = {"keras": {"class": "0"}, "int8": {"class": "0"}}
    samples.write(tmp_path / "samples", [
        sample({"image": one}, outputs, {"image": png(one)}, {"label": "7"}, words) for one in pixels])
    assert json.loads((tmp_path / "samples" / "expected.json").read_bytes())[1] == {
        "file": "01.png", "label": "7", "expected": {"keras": {"class": "0", "logits": [1.23457, -2.0, 0.0]},
                                                     "int8": {"class": "0", "logits": [2.23457, -1.0, 1.0]}}}
    result = samples.read(tmp_path / "samples")
    np.testing.assert_array_equal(result.inputs["image"], np.stack(pixels))
    assert result.files == [tmp_path / "samples" / name for name in ("00.png", "01.png")]
    assert set(result.expected) == {"keras", "int8"}
    assert set(result.expected["int8"]) == {"logits"}, "what is said in words is not an output"
    np.testing.assert_allclose(result.expected["keras"]["logits"], np.stack([logits, logits]), atol=1e-5)


def test_several_inputs_stand_by_name_and_are_read_exactly(tmp_path):
    pixels = [image() for _ in range(3)]
    numbers = GENERATOR.standard_normal(3).astype("float32")
    tokens = GENERATOR.integers(0, 50, (3, 4))
    inputs = [{"image": pixels[number], "depth": numbers[number], "tokens": tokens[number]} for number in range(3)]
    samples.write(tmp_path / "samples", [
        sample(one, {"float32": {"values": one["depth"]}}, {"image": png(one["image"])}) for one in inputs])
    first = json.loads((tmp_path / "samples" / "expected.json").read_bytes())[0]
    assert first["inputs"]["image"] == {"file": "00.image.png"} and first["inputs"]["tokens"] == tokens[0].tolist()
    result = samples.read(tmp_path / "samples")
    np.testing.assert_array_equal(result.inputs["image"], np.stack(pixels))
    np.testing.assert_array_equal(result.inputs["depth"], numbers)
    np.testing.assert_array_equal(result.inputs["tokens"], tokens)
    assert result.inputs["depth"].dtype == np.float32
    assert list(result.encoded) == ["image"] and len(result) == 3


def test_large_arrays_lie_beside_the_list_and_small_dense_ones_in_it(tmp_path):
    small, large = (GENERATOR.standard_normal((side, side, 2)).astype("float32") for side in (4, 64))
    outputs = {"float32": {"logits": small}, "int8": {"logits": large}}
    samples.write(tmp_path / "samples", [sample({"window": large}, outputs)])
    entry = json.loads((tmp_path / "samples" / "expected.json").read_bytes())[0]
    assert entry["inputs"] == {"window": {"file": "00.window.npy"}}
    assert entry["expected"]["int8"] == {"logits": {"file": "00.int8.logits.npy"}}
    assert np.shape(entry["expected"]["float32"]["logits"]) == (4, 4, 2)
    result = samples.read(tmp_path / "samples")
    np.testing.assert_array_equal(result.expected["int8"]["logits"], large[None])
    np.testing.assert_array_equal(result.inputs["window"], large[None])
    assert result.files == [], "arrays are not files that anything is decoded from"


def test_small_outputs_keep_their_digits(tmp_path):
    values = np.array([1.23456789e-4, -9.87654321e-6], "float32")
    samples.write(tmp_path / "samples", [sample({"depth": np.float32(0.1)}, {"float32": {"values": values}})])
    result = samples.read(tmp_path / "samples").expected["float32"]["values"][0]
    np.testing.assert_allclose(result, values, atol=1e-4 * np.abs(values).max())


def test_files_that_are_not_images_have_their_numbers_beside_them_and_texts_stay_texts(tmp_path):
    wave = GENERATOR.standard_normal(16).astype("float32")
    inputs = {"wave": wave, "question": np.asarray("wer da? ü")}
    samples.write(tmp_path / "samples", [
        sample(inputs, {"keras": {"tokens": np.array([3, 1])}}, {"wave": ("wav", b"RIFF")})])
    result = samples.read(tmp_path / "samples")
    np.testing.assert_array_equal(result.inputs["wave"], wave[None])
    assert result.inputs["question"].tolist() == ["wer da? ü".encode()]
    assert [path.read_bytes() for path in result.encoded["wave"]] == [b"RIFF"]
    tokens = result.expected["keras"]["tokens"]
    assert tokens.tolist() == [[3, 1]] and tokens.dtype.kind == "i"


def test_there_may_be_no_samples(tmp_path):
    samples.write(tmp_path / "samples", [])
    assert len(samples.read(tmp_path / "samples")) == 0


def test_missing_numbers_are_null_and_words_stand_as_text_too(tmp_path):
    rows = [(np.float32("nan"), np.int32(2), "Köln"), (np.float32(41.5), np.int32(0), "(unknown)")]
    samples.write(tmp_path / "samples", [
        samples.Sample(inputs={"age": age, "city": city}, files={}, targets={"target": "good"}, texts={"city": word},
                       outputs={"keras": {"logits": np.zeros(2, "float32")}}, words={"keras": {}})
        for age, city, word in rows])
    listed = json.loads((tmp_path / "samples" / samples.NAME).read_text())
    assert [one["inputs"] for one in listed] == [{"age": None, "city": {"text": "Köln", "values": 2}},
                                                 {"age": 41.5, "city": {"text": "(unknown)", "values": 0}}]
    read = samples.read(tmp_path / "samples")
    np.testing.assert_array_equal(read.inputs["age"], np.array([np.nan, 41.5], "float32"))
    assert read.inputs["age"].dtype == np.float32 and read.inputs["city"].tolist() == [2, 0]
    assert read.sent["city"].tolist() == ["Köln".encode(), b"(unknown)"] and not read.encoded


def test_of_many_tokens_some_rows_stand_for_all(tmp_path):
    assert samples.rows_of((256, 300)) == [0, 36, 73, 109, 146, 182, 219, 255]
    assert samples.rows_of((3, 30_000)) == [0, 1, 2]
    assert samples.rows_of((256, 256)) == samples.rows_of((256, 256, 21)) == samples.rows_of((100_000,)) == []
    logits = GENERATOR.standard_normal((2, 100, 1000)).astype("float32")
    rows = samples.rows_of((100, 1000))
    samples.write(tmp_path / "samples", [Sample(
        inputs={"tokens": np.arange(100)}, files={}, targets={}, outputs={"float32": {"logits": one}}, words={},
        rows={"logits": rows}) for one in logits])
    kept = [path.stat().st_size for path in (tmp_path / "samples").glob("*.npy")]
    assert len(kept) == 2 and max(kept) <= 8 * 1000 * 4 + 128
    result = samples.read(tmp_path / "samples")
    expected = result.expected["float32"]
    np.testing.assert_array_equal(expected["logits"], logits[:, rows])

    def checked(answer):
        return golden.checked("float32", {"logits": answer}, expected, {"logits": 1e-4}, result.rows)

    assert checked(logits).passed and checked(logits).same == 2
    off = logits.copy()
    off[1, 57] += 1
    assert checked(off).worst == pytest.approx(1, abs=1e-5) and not checked(off).passed
    assert checked(logits[:, :80]).same == 0 and not checked(logits[:, :80]).passed, "it has too few rows"
