"""Noise, conditions and pictures as features."""
import numpy as np
import pytest
import tensorflow as tf

from export.writing import noise as driver
from pipelines.features.condition import Condition
from pipelines.features.feature import Field, Learnt
from pipelines.features.noise import HASHES, SEED, Noise
from pipelines.features.picture import Picture
from pipelines.ingest.indexing import Reader
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_generation import ImageGeneration


def test_an_example_has_the_same_noise_each_time_and_another_one_other_noise():
    feature = Noise(size=6)
    one, again, other = (feature.decode(tf.constant(name), Learnt()).numpy() for name in ("a#1", "a#1", "a#2"))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (6,) and not np.allclose(one, other)


def test_the_noise_of_an_example_can_be_drawn_without_tensorflow():
    number = int(tf.strings.to_hash_bucket_fast("a#1", HASHES))
    np.testing.assert_allclose(Noise(size=9).decode(tf.constant("a#1"), Learnt()),
                               driver.normal((SEED, number), (9,)), atol=5e-6)


def test_noise_of_many_examples_is_normal():
    feature = Noise(size=8)
    names = tf.constant([f"train/{number}" for number in range(2000)])
    values = tf.function(lambda: tf.map_fn(lambda name: feature.decode(name, Learnt()), names,
                                           fn_output_signature=tf.float32))().numpy()
    assert abs(values.mean()) < 0.03 and values.std() == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(values.T) - np.eye(8)).max() < 0.1


def test_noise_is_drawn_by_names_that_no_source_lists():
    assert Noise().check("noise", {}) == Field(kind="text") and Noise().field_name("noise") == "id"


def test_a_condition_is_a_number_for_each_class():
    learnt = Learnt(names=["a", "b", "c"])
    assert Condition().decode(tf.constant(1), learnt).numpy().tolist() == [0, 1, 0]
    assert Condition().tensor("condition", learnt).dtype == "float32"
    assert Condition().in_words(np.array([0, 0, 1.0]), learnt) == "c"


def test_a_source_with_names_gives_all_three():
    section = DataSection(source="digits", image={"size": 8, "channels": 1}, noise={"size": 5})
    reader = Reader(section, ImageGeneration(by="class"))
    assert list(reader.features) == ["image", "noise", "condition", "label"]
    assert not Picture.encoded, "a server is not sent the images that a model learnt from"
