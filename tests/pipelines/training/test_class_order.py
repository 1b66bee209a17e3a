"""Classes of a model made elsewhere in another order than the data's."""
import numpy as np
import pytest

from pipelines.training.class_order import other_order

TRUE = np.arange(90) % 3


@pytest.mark.parametrize("decided", [TRUE, np.where(np.arange(90) < 30, 0, TRUE), np.zeros(90, int),
                                     np.random.default_rng(0).integers(0, 3, 90)])
def test_the_datas_own_order_and_guesses_are_no_other_order(decided):
    assert other_order(decided, TRUE, ["a", "b", "c"]) == ""


def test_another_order_is_named():
    decided = np.array([2, 0, 1])[TRUE]  # its class 0 is b, its 1 c, its 2 a
    decided[:9] = 0
    message = other_order(decided, TRUE, ["a", "b", "c"])
    assert "it answers 3% of 90 training examples correctly, and 93% where its classes are b, c, a; name the" in message
