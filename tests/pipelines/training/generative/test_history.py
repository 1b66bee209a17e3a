"""The pictures that a game keeps: against the rule, picture by picture, and that they are in checkpoints."""
import keras
import numpy as np
import pytest
import tf_keras

from pipelines.training.learners.history import history


def levels(layer, values, seed):
    batch = np.asarray(values, np.float32)[:, None, None, None] * np.ones((1, 2, 2, 1), np.float32)
    return np.asarray(layer.exchange(batch, np.array([seed, 0], np.int32)))[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_history_fills_first_and_then_exchanges_half(library):
    layer = history(library, 8, (2, 2, 1), "history")
    kept: list[float] = []
    exchanged = []
    for step in range(60):
        new = [3.0 * step, 3.0 * step + 1, 3.0 * step + 2]
        shown = levels(layer, new, step)
        room = max(0, 8 - len(kept))
        assert shown[:room] == new[:room]
        kept += new[:room]
        for made, seen in zip(new[room:], shown[room:], strict=True):
            exchanged.append(seen != made)
            if seen != made:  # what is shown was kept, and the new one stands in its place
                kept[kept.index(seen)] = made
        now = np.asarray(layer.images)[:, 0, 0, 0].tolist()
        assert sorted(now[:len(kept)]) == sorted(kept) and int(np.asarray(layer.filled)) == len(kept)
    assert len(exchanged) == 172 and 0.38 < np.mean(exchanged) < 0.62
    assert min(kept) > 60, "each place is exchanged now and then"


def test_of_a_batch_larger_than_a_history_the_first_take_part():
    layer = history(keras, 2, (2, 2, 1), "history")
    assert levels(layer, [1, 2, 3], 0) == [1, 2, 3]
    shown = levels(layer, [4, 5, 6], 7)
    assert shown[2] == 6 and set(shown[:2]) <= {1, 2, 4, 5}
    assert layer.trainable_weights == [] and len(layer.weights) == 2
