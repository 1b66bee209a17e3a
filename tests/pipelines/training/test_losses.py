"""Losses against their closed forms."""
import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.training.losses import Loss


def test_cross_entropy_with_smoothed_labels_is_the_closed_form():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], "float32")
    targets = np.array([[1, 0, 0], [0, 0, 1]], "float32")
    smoothed = targets * 0.9 + 0.1 / 3
    log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(smoothed * log_scores).sum(axis=1).mean()
    assert np.mean(Loss.read({"cross_entropy": 0.1}).build([1, 1, 1])(targets, logits)) == pytest.approx(expected, rel=1e-6)


LOGITS = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
TARGETS = np.eye(3, dtype="float32")[[0, 1, 2, 0, 0, 1]]
SCORES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SIGMOIDS = 1 / (1 + np.exp(-LOGITS))
TRUE = (SCORES * TARGETS).sum(axis=1)


@pytest.mark.parametrize(("written", "expected"), [
    ("cross_entropy", -np.log(TRUE).mean()),
    ({"cross_entropy": {"class_weights": [1, 2, 3]}}, (-np.log(TRUE) * (TARGETS @ [1, 2, 3])).mean()),
    ({"cross_entropy": {"class_weights": "balanced"}}, (-np.log(TRUE) * (TARGETS @ [10 / 18, 10 / 9, 10 / 3])).mean()),
    ({"focal": {"gamma": 2, "alpha": 0.25}}, (-0.25 * (1 - TRUE) ** 2 * np.log(TRUE)).mean()),
    ("binary_cross_entropy", -(TARGETS * np.log(SIGMOIDS) + (1 - TARGETS) * np.log(1 - SIGMOIDS)).mean()),
    ({"binary_focal": {"gamma": 2, "alpha": 0.25}}, -(0.25 * TARGETS * (1 - SIGMOIDS) ** 2 * np.log(SIGMOIDS)
                                                     + 0.75 * (1 - TARGETS) * SIGMOIDS ** 2 * np.log(1 - SIGMOIDS)).mean()),
    ("mse", ((TARGETS - SCORES) ** 2).mean()),
    ("mae", np.abs(TARGETS - SCORES).mean()),
    ({"huber": 0.3}, np.where(np.abs(TARGETS - SCORES) <= 0.3, (TARGETS - SCORES) ** 2 / 2, 0.3 * np.abs(TARGETS - SCORES) - 0.045).mean()),
    ("dice", 1 - 2 * (TARGETS * SCORES).sum() / (TARGETS.sum() + SCORES.sum())),
    ("kl", -np.log(TRUE).mean()),
])
def test_a_loss_is_its_closed_form(written, expected):
    assert np.mean(Loss.read(written).build([6, 3, 1])(TARGETS, LOGITS)) == pytest.approx(expected, rel=1e-4)


def test_class_weights_must_be_as_many_as_classes():
    with pytest.raises(UserError, match="2 weights for 3 classes"):
        Loss.read({"cross_entropy": {"class_weights": [1, 2]}}).build([6, 3, 1])


def test_triplet_and_contrastive_are_their_closed_forms():
    from pipelines.training import metric_learning

    distances = np.sqrt(((LOGITS[:, None] - LOGITS[None]) ** 2).sum(-1))
    labels = TARGETS.argmax(1)
    triplet, contrastive = [], []
    for one in range(6):
        alike = [distances[one, two] for two in range(6) if two != one and labels[two] == labels[one]]
        other = [distances[one, two] for two in range(6) if labels[two] != labels[one]]
        triplet.append(max(0, max(alike) - min(other) + 0.7) if alike else 0)
        contrastive.append((sum(d**2 for d in alike) + sum(max(0, 2 - d) ** 2 for d in other)) / 10)
    np.testing.assert_allclose(metric_learning.batch_hard_triplet(TARGETS, LOGITS, 0.7), triplet, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metric_learning.contrastive(TARGETS, LOGITS, 2.0), contrastive, rtol=1e-4)
