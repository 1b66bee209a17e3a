"""Categories: vocabularies, and the way from words to positions and back."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.features import Field
from pipelines.features.category import UNKNOWN, Category

TEXT = Field(kind="text")
WORDS = np.array([b"red", b"blue", b"red", b"green", b"blue", b"red", b"pink"], object)


def learnt(values, field=TEXT, **settings):
    return Category(**settings).learn(field, values)


def test_frequent_words_come_first_and_equal_ones_in_order():
    assert learnt(WORDS, min_count=1).names == [UNKNOWN, "red", "blue", "green", "pink"]


def test_rare_words_and_those_beyond_the_most_are_unknown():
    assert learnt(WORDS).names == [UNKNOWN, "red", "blue"]
    assert learnt(WORDS, min_count=1, most=1).names == [UNKNOWN, "red"]


def test_positions_are_those_of_the_vocabulary_one_by_one_and_in_batches():
    known = learnt(WORDS)
    texts = ["blue", "yellow", "red", "", "Red"]
    assert Category().decode(tf.constant(texts), known).numpy().tolist() == [2, 0, 1, 0, 0]
    one_by_one = tf.data.Dataset.from_tensor_slices(texts).map(lambda text: Category().decode(text, known))
    assert [int(one) for one in one_by_one] == [2, 0, 1, 0, 0]
    assert Category().tensor("colour", known).words == (UNKNOWN, "red", "blue")


def test_a_missing_value_is_a_word_where_training_has_it_and_unknown_where_not():
    known = learnt(np.array([b"", b"", b"a", b"a", b"a"], object))
    assert known.names == [UNKNOWN, "a", ""] and int(Category().decode(tf.constant(""), known)) == 2
    assert "2 where it is missing" in Category().tensor("x", known).meaning
    assert int(Category().decode(tf.constant(""), learnt(WORDS))) == 0


@pytest.mark.parametrize("dtype", ["int64", "float64", "float32"])
def test_whole_numbers_are_words_without_a_point(dtype):
    known = learnt(np.array([7, 7, 50667, 50667, 50667], dtype), Field(kind="number"))
    assert known.names == [UNKNOWN, "50667", "7"]
    assert Category().decode(tf.constant([7, 8], dtype), known).numpy().tolist() == [2, 0]
    assert int(Category().decode(tf.constant("50667"), known)) == 1, "a server is sent text"


def test_a_number_that_is_not_there_is_missing():
    known = learnt(np.array([1.0, 1.0, np.nan, np.nan, np.nan]), Field(kind="number"))
    assert known.names == [UNKNOWN, "", "1"]
    assert Category().decode(tf.constant([np.nan, 1.0]), known).numpy().tolist() == [1, 2]


@pytest.mark.parametrize("field", [TEXT, Field(kind="class", names=["(unknown)", "red"])])
def test_a_word_that_is_spelt_as_unknown_ones_is_another(field):
    known = learnt(np.array([b"(unknown)", b"red"] * 3, object), field)
    assert known.names == ["((unknown))", "(unknown)", "red"]
    positions = np.array([0, 1, 2], "int32")
    sent = Category().sent(positions, known)
    assert Category().decode(tf.constant(sent), known).numpy().tolist() == positions.tolist()
    assert int(Category().decode(tf.constant("blue"), known)) == 0


def test_classes_of_a_source_keep_their_order():
    known = learnt((), Field(kind="class", names=["no", "yes"]))
    assert known.names == [UNKNOWN, "no", "yes"]
    assert Category().decode(tf.constant([0, 1, -1]), known).numpy().tolist() == [1, 2, 0]
    assert Category().decode(tf.constant(["yes", "maybe"]), known).numpy().tolist() == [2, 0]


def test_what_a_server_is_sent_means_the_same_there():
    known = learnt(WORDS)
    positions = np.array([0, 1, 2], "int32")
    sent = Category().sent(positions, known)
    assert sent.tolist() == [UNKNOWN.encode(), b"red", b"blue"]
    np.testing.assert_array_equal(Category().decode(tf.constant(sent), known), positions)


def test_a_saved_function_looks_words_up_without_a_table(tmp_path):
    known = learnt(np.array([f"word {number // 2}".encode() for number in range(4000)], object))
    module = tf.Module()
    module.look = tf.function(lambda texts: Category().decode(texts, known),
                              input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    texts = [f"word {number}" for number in (0, 999, 1500, 77)]
    expected = [known.names.index(text) if text in known.names else 0 for text in texts]
    assert tf.saved_model.load(str(tmp_path / "saved")).look(tf.constant(texts)).numpy().tolist() == expected
