"""Losses on angles against their closed forms, one number after the other."""
import math

import numpy as np
import pytest
import tensorflow as tf

import pipelines.training.section  # noqa: F401  makes the losses known
from pipelines.errors import UserError
from pipelines.training import metric_learning
from pipelines.training.losses import Loss

ANGLES = np.array([[0.3, 1.2, 2.0], [2.9, 0.4, 1.0], [1.5, 1.4, 0.01], [0.8, 3.1, 2.2]])
TRUE = [0, 0, 2, 1]
COSINES = np.cos(ANGLES).astype("float32")
TARGETS = np.eye(3, dtype="float32")[TRUE]


def expected(scale, changed):
    losses = []
    for angles, true in zip(ANGLES, TRUE, strict=True):
        logits = [scale * (changed(angle) if number == true else math.cos(angle)) for number, angle in
                  enumerate(angles)]
        losses.append(math.log(sum(math.exp(logit - logits[true]) for logit in logits)))
    return losses


def arc(angle, margin=0.5):
    return math.cos(angle + margin) if angle + margin <= math.pi else math.cos(angle) - margin * math.sin(margin)


def sphere(angle, margin=4.0, easing=5.0):
    turns = math.floor(margin * angle / math.pi)
    psi = (-1) ** turns * math.cos(margin * angle) - 2 * turns
    return (easing * math.cos(angle) + psi) / (1 + easing)


@pytest.mark.parametrize(("written", "scale", "changed"), [
    ("arcface", 64, arc), ({"arcface": {"margin": 0.3, "scale": 10}}, 10, lambda angle: arc(angle, 0.3)),
    ("cosface", 64, lambda angle: math.cos(angle) - 0.35), ({"cosface": 0.1}, 64, lambda angle: math.cos(angle) - 0.1),
    ("sphereface", 30, sphere), ({"sphereface": {"margin": 1.5, "easing": 0}}, 30, lambda a: sphere(a, 1.5, 0.0)),
    ("softmax", 30, math.cos)])
def test_a_loss_is_its_closed_form(written, scale, changed):
    given = Loss.read(written).build((), "embedding")(TARGETS, COSINES)
    np.testing.assert_allclose(given, expected(scale, changed), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["arcface", "cosface", "sphereface", "softmax"])
def test_a_smaller_angle_to_the_true_identity_always_costs_less(name):
    angles = np.linspace(0, math.pi, 400)
    cosines = np.stack([np.cos(angles), np.full(400, 0.1)], axis=1).astype("float32")
    changed = np.asarray(Loss.read(name).changed(cosines))[:, 0]
    assert (np.diff(changed) < 1e-4).all()


@pytest.mark.parametrize("name", ["arcface", "cosface", "sphereface", "softmax"])
def test_gradients_are_finite_at_the_ends(name):
    cosines = tf.Variable([[1.0, -1.0], [-1.0, 1.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(Loss.read(name).build((), "embedding")(tf.eye(2), cosines))
    assert np.isfinite(tape.gradient(loss, cosines).numpy()).all()


def test_of_embeddings_the_triplet_loss_is_that_of_distances_alone():
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    targets = np.eye(3, dtype="float32")[[0, 0, 1, 1, 2, 2]]
    given = Loss.read({"triplet": 0.2}).build((), "embedding")(targets, vectors)
    np.testing.assert_allclose(given, metric_learning.batch_hard_triplet(targets, vectors, 0.2), rtol=1e-6)


def test_a_loss_on_angles_is_not_for_logits():
    with pytest.raises(UserError, match=r"arcface compares embeddings, and this task's output is logits: .*focal"):
        Loss.read("arcface").build([1, 1], "logits")


def test_a_loss_on_classes_is_not_for_embeddings():
    with pytest.raises(UserError, match=r"compares classes, and this task's output is embedding: .*arcface"):
        Loss.read("cross_entropy").build([1, 1], "embedding")
