"""Inception as a judge: its features against keras.applications, what it is called, and weights that are not there."""
import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from keras.src.applications import inception_v3 as keras_inception
from keras.src.backend import config

from pipelines.errors import UserError
from pipelines.tasks.image_generation import inception
from pipelines.tasks.image_generation.inception import Inception
from pipelines.tasks.image_generation.judge import judge_of
from pipelines.tasks.image_generation.measure import Pictures
from pipelines.tasks.image_generation.task import ImageGeneration
from tests.pipelines.tasks.image_generation.test_task import index_of

GENERATOR = np.random.default_rng(0)


def test_distances_are_called_by_their_features():
    names = [metric.name for metric in ImageGeneration(judge="inception").metrics]
    assert names[:4] == ["fid", "kid", "precision", "recall"]
    assert [metric.name for metric in ImageGeneration(judge="a.keras").metrics][:2] == ["fid_classifier",
                                                                                      "kid_classifier"]


def test_weights_that_are_not_there_are_named(tmp_path):
    section = ImageGeneration(judge={"of": "inception", "file": str(tmp_path / "none.h5")}).judge
    with pytest.raises(UserError, match=r"task\.image_generation\.judge: there is no file .*none\.h5"):
        judge_of(section, index_of(), "image")


@pytest.mark.slow
def test_weights_that_cannot_be_had_are_named(tmp_path, monkeypatch):
    (tmp_path / "wrong.weights.h5").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"of InceptionV3 cannot be had \(.*\): give a file of keras") as one:
        Inception(tmp_path / "wrong.weights.h5")
    assert "\n" not in str(one.value)
    # Keras asks for its file where none is, and has none from before
    monkeypatch.setattr(keras_inception, "WEIGHTS_PATH_NO_TOP", (tmp_path / "none").as_uri())
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))
    inception._network.cache_clear()
    with pytest.raises(UserError, match=r"cannot be had \(.*\): give its file, \{of: inception, file: PATH\}, or a"):
        Inception(None)


@pytest.mark.slow
def test_its_features_are_those_of_keras_applications(tmp_path):
    inception._network.cache_clear()
    whole = keras.applications.InceptionV3(weights=None, input_shape=(299, 299, 3))
    whole.save_weights(tmp_path / "inception.weights.h5")
    images = GENERATOR.integers(0, 256, (5, 16, 12, 1)).astype("uint8")
    others = GENERATOR.integers(0, 256, (5, 16, 12, 1)).astype("uint8")
    known = keras.Model(whole.input, whole.get_layer("avg_pool").output)

    def expected(values):
        enlarged = tf.image.resize(np.repeat(values, 3, axis=-1).astype("float32"), (299, 299))
        return known(keras.applications.inception_v3.preprocess_input(enlarged), training=False).numpy()

    judge = Inception(tmp_path / "inception.weights.h5")
    seen = judge.look(images)
    np.testing.assert_allclose(seen.features, expected(images), rtol=1e-4, atol=1e-5)
    assert seen.scores.shape == (5, 0)
    measure = Pictures(lambda: judge, ["dark", "bright"])
    measure.add({}, {"generated": images.astype("float32"), "image": others})
    found = measure.result(tmp_path)
    one, other = expected(images), expected(others)
    covariances = [np.cov(rows, rowvar=False) for rows in (one, other)]
    distance = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1])
    distance -= 2 * np.trace(scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real)
    assert found.metrics["fid"] == pytest.approx(distance, abs=1e-3)
    assert set(found.metrics) == {"fid", "kid", "precision", "recall"} and not found.tables
    assert "InceptionV3 with Keras's weights" in found.limits[0]
