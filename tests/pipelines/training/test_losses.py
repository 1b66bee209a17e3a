"""Losses against their closed forms."""
import numpy as np
import pytest
from pydantic import ValidationError

import pipelines.training.overlap_losses
import pipelines.training.summed_loss  # noqa: F401  makes them known
from pipelines.errors import UserError
from pipelines.training.losses import Loss


def test_cross_entropy_with_smoothed_labels_is_the_closed_form():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], "float32")
    targets = np.array([[1, 0, 0], [0, 0, 1]], "float32")
    smoothed = targets * 0.9 + 0.1 / 3
    log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(smoothed * log_scores).sum(axis=1).mean()
    loss = Loss.read({"cross_entropy": 0.1}).build([1, 1, 1], "logits")
    assert np.mean(loss(targets, logits)) == pytest.approx(expected, rel=1e-6)


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
                                                     + 0.75 * (1 - TARGETS) * SIGMOIDS ** 2
                                                     * np.log(1 - SIGMOIDS)).mean()),
    ("mse", ((TARGETS - SCORES) ** 2).mean()),
    ("mae", np.abs(TARGETS - SCORES).mean()),
    ({"huber": 0.3},
     np.where(np.abs(TARGETS - SCORES) <= 0.3, (TARGETS - SCORES) ** 2 / 2,
              0.3 * np.abs(TARGETS - SCORES) - 0.045).mean()),
    ("dice", 1 - 2 * (TARGETS * SCORES).sum() / (TARGETS.sum() + SCORES.sum())),
    ({"tversky": {"missed": 0.9, "added": 0.2}}, (1 - TRUE / (TRUE + 0.2 * (1 - TRUE) + 0.9 * (1 - TRUE))).mean()),
    ("lovasz", 1 - TRUE.mean()),
    ("kl", -np.log(TRUE).mean()),
])
def test_a_loss_is_its_closed_form(written, expected):
    assert np.mean(Loss.read(written).build([6, 3, 1], "logits")(TARGETS, LOGITS)) == pytest.approx(expected, rel=1e-4)


def test_class_weights_must_be_as_many_as_classes():
    with pytest.raises(UserError, match="2 weights for 3 classes"):
        Loss.read({"cross_entropy": {"class_weights": [1, 2]}}).build([6, 3, 1], "logits")


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


DENSE_LOGITS = np.random.default_rng(2).normal(size=(2, 4, 5, 3)).astype("float32")
DENSE_TARGETS = np.eye(3, dtype="float32")[np.random.default_rng(3).integers(0, 3, (2, 4, 5))]
DENSE_SCORES = np.exp(DENSE_LOGITS) / np.exp(DENSE_LOGITS).sum(axis=-1, keepdims=True)
DENSE_TRUE = (DENSE_SCORES * DENSE_TARGETS).sum(axis=-1)


def lovasz(targets, scores):
    """Return the Lovász extension of an image's Jaccard loss by its definition: what each further wrong pixel adds to
    the loss of the set of those before it, from the largest error down."""
    def jaccard_loss(wrong, true):
        return len(wrong) / len(true | wrong) if true | wrong else 0.0

    losses = []
    for number in range(targets.shape[-1]):
        true = set(np.flatnonzero(targets[..., number]))
        errors = np.abs(targets - scores)[..., number].ravel()
        order = [int(place) for place in np.argsort(-errors, kind="stable")]
        losses += [sum(errors[place] * (jaccard_loss(set(order[:count + 1]), true) - jaccard_loss(set(order[:count]),
                                                                                                 true))
                       for count, place in enumerate(order))] * bool(true)
    return np.mean(losses)


OVER = (DENSE_TARGETS * DENSE_SCORES).sum(axis=(1, 2))
BOTH = (DENSE_TARGETS + DENSE_SCORES).sum(axis=(1, 2))


@pytest.mark.parametrize(("written", "expected"), [
    ("cross_entropy", -np.log(DENSE_TRUE).mean(axis=(1, 2))),
    ({"cross_entropy": {"class_weights": [1, 2, 3]}},
     (-np.log(DENSE_TRUE) * (DENSE_TARGETS @ [1, 2, 3])).mean(axis=(1, 2))),
    ("focal", (-0.25 * (1 - DENSE_TRUE) ** 2 * np.log(DENSE_TRUE)).mean(axis=(1, 2))),
    ("dice", (1 - (2 * OVER + 1) / (BOTH + 1)).mean(axis=-1)),
    ({"tversky": {"missed": 0.9, "added": 0.2}},
     (1 - (OVER + 0.5) / (OVER + 0.2 * ((1 - DENSE_TARGETS) * DENSE_SCORES).sum(axis=(1, 2))
                          + 0.9 * (DENSE_TARGETS * (1 - DENSE_SCORES)).sum(axis=(1, 2)) + 0.5)).mean(axis=-1)),
    ({"tversky": {"missed": 0.5, "added": 0.5}}, (1 - (2 * OVER + 1) / (BOTH + 1)).mean(axis=-1)),
    ("lovasz", [lovasz(*example) for example in zip(DENSE_TARGETS, DENSE_SCORES, strict=True)]),
    ("mse", ((DENSE_TARGETS - DENSE_SCORES) ** 2).mean(axis=(1, 2, 3))),
    ("kl", -np.log(DENSE_TRUE).mean(axis=(1, 2))),
])
def test_a_loss_of_dense_outputs_is_its_closed_form_for_each_example(written, expected):
    found = np.asarray(Loss.read(written).build([6, 3, 1], "logits")(DENSE_TARGETS, DENSE_LOGITS))
    assert found.shape == (2,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_whole_answers_cost_what_their_iou_lacks():
    """At the corners, where each pixel has one class for certain, the extension is the loss that it extends."""
    answers = np.eye(3, dtype="float32")[np.random.default_rng(6).integers(0, 3, (2, 4, 5))]
    found = np.asarray(Loss.read("lovasz").build([6, 3, 1], "scores")(DENSE_TARGETS, answers))
    shared = (DENSE_TARGETS * answers).sum(axis=(1, 2))
    iou = shared / (DENSE_TARGETS + answers).clip(0, 1).sum(axis=(1, 2))
    np.testing.assert_allclose(found, 1 - iou.mean(axis=-1), rtol=1e-5)


def test_a_class_that_an_example_lacks_does_not_count_in_its_lovasz_loss():
    one = np.zeros((1, 2, 2, 3), "float32")
    one[..., 1] = 1
    scores = np.full((1, 2, 2, 3), [0.25, 0.5, 0.25], "float32")
    assert np.asarray(Loss.read("lovasz").build([4, 4, 4], "scores")(one, scores))[0] == pytest.approx(0.5)


def test_what_is_missed_costs_more_than_what_is_added():
    truth = np.eye(2, dtype="float32")[[[[0, 0, 0, 1, 1, 0]]]]
    missed, added = (np.eye(2, dtype="float32")[[[answer]]] for answer in ([0, 0, 0, 1, 0, 0], [0, 0, 1, 1, 1, 0]))
    loss = Loss.read({"tversky": 0.9}).build([4, 2], "scores")
    costs = [float(np.asarray(loss(truth, answer))[0]) for answer in (missed, added)]
    whole = Loss.read("dice").build([4, 2], "scores")
    assert costs[0] / costs[1] > np.asarray(whole(truth, missed))[0] / np.asarray(whole(truth, added))[0]


SUM = {"sum": ["cross_entropy", "dice"]}
#: Those of one task alone, which compare no logits with a target: test_detection.py, test_anchor_losses.py,
#: test_instance_segmentation.py, test_angular.py, test_forecasting.py, speech_recognition/test_task.py.
OF_A_TASK = {"anchor_detection", "arcface", "cell_detection", "cosface", "ctc", "cycle_gan", "denoising", "detection",
             "elbo", "gan", "hinge_gan", "instances", "paired_gan", "pinball", "quantized", "region_detection",
             "softmax", "sphereface", "style_gan", "wasserstein"}


@pytest.mark.parametrize("written", [SUM, *sorted(set(Loss.choices) - set(SUM) - OF_A_TASK)])
def test_every_loss_has_a_value_for_each_example(written):
    assert np.asarray(Loss.read(written).build([6, 3, 1], "logits")(TARGETS, LOGITS)).shape == (6,)


@pytest.mark.parametrize("written", [
    "cross_entropy", {"focal": 2}, "binary_cross_entropy", "binary_focal", "mse", "mae", "huber", "dice", "kl",
    "tversky", "lovasz"])
def test_the_role_of_an_output_decides_on_the_softmax(written):
    loss = Loss.read(written)
    scores = SIGMOIDS if "binary" in str(loss.entry_name) else SCORES
    of_logits = loss.build([6, 3, 1], "logits")(TARGETS, LOGITS)
    of_scores = loss.build([6, 3, 1], "scores")(TARGETS, scores)
    np.testing.assert_allclose(np.asarray(of_logits), np.asarray(of_scores), rtol=1e-4, atol=1e-6)


VOID = np.random.default_rng(5).random((2, 4, 5)) < 0.3


@pytest.mark.parametrize("written", [
    "cross_entropy", {"cross_entropy": 0.1}, {"cross_entropy": {"class_weights": "balanced"}}, "focal",
    "binary_cross_entropy", "binary_focal", "mse", "mae", "huber", "kl", "dice", "tversky", "lovasz", SUM])
def test_pixels_of_no_class_are_left_out(written):
    """What the model says there does not matter, and the mean is over the others: as if they were not there."""
    compare = Loss.read(written).build([6, 3, 1], "logits")
    targets = np.where(VOID[..., None], 0, DENSE_TARGETS).astype("float32")
    other = np.where(VOID[..., None], 9, DENSE_LOGITS).astype("float32")
    found = np.asarray(compare(targets, DENSE_LOGITS))
    np.testing.assert_allclose(found, np.asarray(compare(targets, other)), rtol=1e-5)
    for number, known in enumerate(~VOID):
        alone = compare(DENSE_TARGETS[number][known][None, None], DENSE_LOGITS[number][known][None, None])
        np.testing.assert_allclose(found[number], np.asarray(alone)[0], rtol=1e-5)


@pytest.mark.parametrize("written", [SUM, "tversky", "lovasz"])
def test_an_example_of_no_class_at_all_costs_nothing(written):
    compare = Loss.read(written).build([6, 3, 1], "logits")
    np.testing.assert_allclose(np.asarray(compare(0 * DENSE_TARGETS, DENSE_LOGITS)), [0, 0], atol=1e-6)


def test_a_sum_adds_its_losses_each_times_its_weight():
    values = {name: np.asarray(Loss.read(name).build([6, 3, 1], "logits")(DENSE_TARGETS, DENSE_LOGITS))
              for name in ("cross_entropy", "dice", "focal")}
    weighted = Loss.read({"sum": {"losses": ["cross_entropy", "dice", {"focal": {"gamma": 2}}], "weights": [1, 2, 4]}})
    found = np.asarray(weighted.build([6, 3, 1], "logits")(DENSE_TARGETS, DENSE_LOGITS))
    np.testing.assert_allclose(found, values["cross_entropy"] + 2 * values["dice"] + 4 * values["focal"], rtol=1e-5)
    assert Loss.read(weighted.written()) == weighted
    assert list(weighted.written()["sum"]["losses"][1]) == ["dice"]


@pytest.mark.parametrize(("written", "message"), [
    ({"sum": {"losses": ["cross_entropy", "dice"], "weights": [1]}}, "has 1 weights for 2 losses"),
    ({"sum": ["cross_entropy", {"sum": ["dice", "mse"]}]}, "is a sum in a sum; list its losses instead"),
    ({"sum": ["cross_entropy", "dise"]}, "loss dise is not known"),
    ({"sum": ["dice"]}, "at least 2 items")])
def test_a_sum_that_cannot_be_says_why(written, message):
    with pytest.raises(ValidationError, match=message):
        Loss.read(written)


NUMBERS, ANSWERS = np.random.default_rng(4).normal(size=(2, 6)).astype("float32")


@pytest.mark.parametrize(("written", "expected"), [
    ("mse", (NUMBERS - ANSWERS) ** 2), ("mae", np.abs(NUMBERS - ANSWERS)),
    ({"huber": 0.3},
     np.where(np.abs(NUMBERS - ANSWERS) <= 0.3, (NUMBERS - ANSWERS) ** 2 / 2, 0.3 * np.abs(NUMBERS - ANSWERS) - 0.045)),
])
def test_a_loss_of_numbers_sees_them_as_they_are(written, expected):
    compare = Loss.read(written).build([], "values")
    for targets, outputs in ((NUMBERS, ANSWERS), (NUMBERS, ANSWERS[:, None]), (NUMBERS[:, None], ANSWERS[:, None])):
        np.testing.assert_allclose(np.asarray(compare(targets, outputs)), expected, rtol=1e-5)
    horizon = NUMBERS.reshape(2, 3, 1), ANSWERS.reshape(2, 3, 1)
    np.testing.assert_allclose(np.asarray(compare(*horizon)), expected.reshape(2, 3).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice", "kl", "triplet", "binary_focal"])
def test_a_loss_of_classes_is_refused_for_numbers(name):
    expected = f"train.loss: {name} compares classes, and this task's output is values: give one of huber, mae, mse"
    with pytest.raises(UserError, match=expected):
        Loss.read(name).build([], "values")


def test_losses_on_distances_and_angles_want_whole_classes():
    whole = {name for name, loss in Loss.choices.items() if loss.whole_classes}
    assert whole >= {"triplet", "contrastive"} and not whole & {"cross_entropy", "focal", "mse", "dice", "kl"}


def test_a_class_without_training_examples_weighs_nothing():
    compare = Loss.read({"cross_entropy": {"class_weights": "balanced"}}).build([3, 0, 1], "logits")
    each = np.asarray(compare(np.eye(3, dtype="float32"), np.zeros((3, 3), "float32")))
    np.testing.assert_allclose(each, np.log(3) * np.array([4 / 9, 0, 4 / 3]), rtol=1e-4)
