"""Files with buckets of length: each text is answered by the shortest that it fits into, as the whole model does."""
import numpy as np
import pytest

from export.measure import side_by_side
from export.predictors import BucketedPredictor, LiteRTPredictor, open_predictor
from export.predictors.bucketed import lengths, sizes
from tests.export.bucketed_file import LENGTH, SHORTER, made, texts


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made(tmp_path_factory.mktemp("bucketed"))


def test_answers_are_those_of_the_whole_model_whatever_the_length(files):
    tokens = texts()
    predictor = open_predictor(files.path)
    assert isinstance(predictor, BucketedPredictor) and predictor.lengths == list(SHORTER)
    answers, expected = predictor.predict({"tokens": tokens})["logits"], files.model(tokens).numpy()
    assert np.ptp(expected, axis=0).min() > 0.1
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    alone = np.concatenate([predictor.predict({"tokens": one[None]})["logits"] for one in tokens])
    np.testing.assert_array_equal(answers, alone)


def test_each_text_is_asked_of_the_shortest_that_it_fits_into(files, monkeypatch):
    predictor, asked = open_predictor(files.path), []
    inner = LiteRTPredictor._run
    monkeypatch.setattr(LiteRTPredictor, "_run", lambda self, file, stored: asked.append(file.name) or inner(
        self, file, stored))
    for size, name in ((0, "serving_default"), (1, "up_to_4"), (4, "up_to_4"), (5, "up_to_8"), (8, "up_to_8"),
                       (9, "serving_default"), (LENGTH, "serving_default")):
        tokens = np.where(np.arange(LENGTH) < size, 3, 0)[None]
        predictor.predict({"tokens": tokens})
        assert asked.pop() == name and not asked
    predictor.predict({"tokens": np.full((1, 4), 3)}, "up_to_4")
    assert asked == ["up_to_4"]


def test_one_text_that_is_prepared_is_read_by_its_bucket(files):
    predictor = open_predictor(files.path)
    run = predictor.prepared({"tokens": np.where(np.arange(LENGTH) < 3, 3, 0)[None]})
    assert run()["logits"].shape == (1, 3)
    assert predictor.prepared({"tokens": np.full((1, LENGTH), 3)})() is None  # the usual signature's invoke


def test_weights_are_stored_once(files):
    weights = 4 * files.model.count_params()
    assert weights < files.path.stat().st_size < 2 * weights


def test_padding_is_told_from_a_text_without_tokens():
    assert sizes(np.array([[0, 0, 0], [5, 0, 0], [5, 1, 2], [0, 7, 0]])).tolist() == [0, 1, 3, 2]
    assert lengths(["up_to_32", "serving_default", "up_to_8", "up_to_x"]) == [8, 32]


def test_each_signature_is_timed_by_itself(files, converted):
    names = side_by_side.timed_signatures(files.path)
    assert names == ["up_to_4", "up_to_8", "serving_default"]
    assert side_by_side.timed_signatures(converted["float32"]) == ["serving_default"]
    times = side_by_side.interleaved([files.path] * 3, 1, 20, names)
    assert [len(one) for one in times] == [20] * 3
    begun = side_by_side.start(files.path, 1, "up_to_4")
    assert side_by_side.figures(files.path, times[0], begun, 1, signature="up_to_4").name == f"{files.path} up_to_4"
    assert side_by_side.figures(files.path, times[2], begun, 1).name == str(files.path)
