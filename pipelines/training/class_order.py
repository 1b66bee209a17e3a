"""Models made elsewhere whose classes are in another order than the data's."""
from __future__ import annotations

from collections.abc import Sequence

from etils import epy

with epy.lazy_imports():
    import numpy as np
    from scipy import optimize

#: Share of right answers that another order must give, and by how much more than the data's own.
RIGHT, MORE = 0.6, 0.3
#: Classes that a message lists at most.
LISTED = 10


def other_order(decided: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> str:
    """Return why a model's classes seem to be in another order than the data's; empty where they do not.

    Args:
        decided, classes: what the model says and what is true, (examples,) of whole numbers.
        names: of the data's classes.
    """
    count = len(names)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (classes, decided), 1)
    true, said = optimize.linear_sum_assignment(-confusion)
    as_they_are, otherwise = np.trace(confusion) / len(classes), confusion[true, said].sum() / len(classes)
    if otherwise < RIGHT or otherwise - as_they_are < MORE:
        return ""
    order = [names[number] for number in true[np.argsort(said)]]
    return (f"the model's classes seem to be in another order than the data's: it answers {as_they_are:.0%} of "
            f"{len(classes)} training examples correctly, and {otherwise:.0%} where its classes are "
            f"{', '.join(order[:LISTED])}{', …' if count > LISTED else ''}; name the data's classes so that they "
            "are in that order")
