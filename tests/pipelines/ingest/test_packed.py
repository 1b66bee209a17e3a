"""Texts that are packed into rows: none is lost, none is cut, and the loss is that of each alone."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingest.augmentation.packed import Packed, placed

ROLES = {"tokens": "tokens", "next": "tokens"}


def test_texts_come_whole_into_few_rows():
    sizes = np.random.default_rng(0).integers(1, 33, 60).astype("int32")
    rows, starts = placed(sizes, 32)
    taken = np.zeros((rows.max() + 1, 32), int)
    for row, start, size in zip(rows, starts, sizes, strict=True):
        taken[row, start:start + size] += 1
    assert taken.max() == 1 and taken.sum() == sizes.sum()
    # first-fit decreasing needs at most 11/9 of the best, and 6/9 more (Dósa 2007)
    assert len(taken) <= 11 / 9 * -(-sizes.sum() // 32) + 2


def test_a_batch_keeps_all_its_tokens_and_what_follows_them():
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 9, 12)
    tokens, follows = np.zeros((12, 8), "int32"), np.zeros((12, 8, 5), "float32")
    for row, length in enumerate(lengths):
        tokens[row, :length] = [2, *generator.integers(4, 90, length - 1)]
        follows[row, :length] = np.eye(5)[generator.integers(0, 5, length)]
    packed = Packed().apply({"tokens": tf.constant(tokens), "next": tf.constant(follows)}, tf.constant([1, 2]), ROLES)
    rows, targets = packed["tokens"].numpy(), packed["next"].numpy()
    assert rows.shape[0] < 12 and rows.shape[1:] == (8,) and targets.shape == (*rows.shape, 5)

    def texts(tokens, targets):
        begins = np.flatnonzero(tokens.ravel() == 2)
        flat, answers = tokens.ravel(), targets.reshape(-1, 5)
        ends = [*begins[1:], len(flat)]
        return sorted((flat[begin:end][flat[begin:end] > 0].tolist(), answers[begin:end].sum(axis=0).tolist())
                      for begin, end in zip(begins, ends, strict=True))

    assert texts(rows, targets) == texts(tokens, follows)
    assert ((rows > 0) == (targets.sum(axis=-1) > 0)).all()


def test_it_is_for_texts_alone():
    assert Packed().misfit(ROLES) is None
    assert "an example has label; leave it out" in Packed().misfit({"tokens": "tokens", "label": "logits"})


@pytest.mark.parametrize("batch", [6, 1])
def test_batches_of_any_size_pass_through_a_pipeline(batch):
    tokens = np.array([[2, 4, 0, 0], [2, 5, 6, 0]] * 3, "int32")
    dataset = tf.data.Dataset.from_tensor_slices({"tokens": tokens, "next": tokens}).batch(batch).map(
        lambda one: Packed().apply(one, tf.constant([1, 2]), ROLES))
    assert dataset.element_spec["tokens"].shape.as_list() == [None, 4]
    assert sum(int((one["tokens"] > 0).sum()) for one in dataset.as_numpy_iterator()) == 15
