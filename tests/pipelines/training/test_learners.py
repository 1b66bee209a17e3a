"""Learners in both libraries: named inputs and outputs, what the loss is made of, teachers, and auxiliary heads."""
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import models
from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.tasks.task import Task
from pipelines.training.distillation import Distillation
from pipelines.training.learners.auxiliary import with_auxiliary
from pipelines.training.learners.distilled import check_shapes, distilled
from pipelines.training.learners.redrawn import redrawn
from pipelines.training.learners.supervised import learning, supervised
from pipelines.training.losses import Loss
from tests.pipelines.training.two_by_two import COMPARED, GENERATOR, INPUTS, TARGETS, objective, two_by_two

LIBRARIES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])


def right(targets, outputs):
    return tf.cast(tf.argmax(targets["kind"], -1) == tf.argmax(outputs["logits"], -1), tf.float32)


def by_hand(model, decay=0.0):
    """The loss in NumPy."""
    outputs = {name: np.asarray(value) for name, value in model(INPUTS).items()}
    shifted = outputs["logits"] - outputs["logits"].max(axis=1, keepdims=True)
    entropy = np.log(np.exp(shifted).sum(axis=1)) - (shifted * TARGETS["kind"]).sum(axis=1)
    kernels = [weight for weight in model.get_weights() if weight.shape == (5, 8)]
    return (entropy + (outputs["size"][:, 0] - TARGETS["size"])**2).mean() + decay * (kernels[0]**2).sum()


@LIBRARIES
def test_two_named_inputs_and_outputs_are_trained_validated_and_measured(library):
    model = two_by_two(library)
    learner = learning(model, library, supervised(library)).prepare(objective, {"right": right})
    learner.compile(library.optimizers.Adam(0.01))
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(16)
    history = learner.fit(batches, epochs=30, validation_data=batches, verbose=0).history
    assert set(history) == {"loss", "right", "val_loss", "val_right"}
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    expected = np.mean(np.argmax(np.asarray(model(INPUTS)["logits"]), 1) == TARGETS["kind"].argmax(1))
    assert history["val_right"][-1] == pytest.approx(expected)
    assert history["val_loss"][-1] == pytest.approx(by_hand(model), rel=1e-5)


@LIBRARIES
def test_a_single_batch_is_learnt_as_those_of_a_whole_training(library):
    redraw = redrawn(library, lambda inputs, targets, step: (inputs, targets))
    model = two_by_two(library)
    learner = learning(model, library, redraw).prepare(objective, {})
    learner.compile(library.optimizers.SGD(0.0))
    assert learner.train_on_batch(INPUTS, TARGETS, return_dict=True)["loss"] == pytest.approx(
        by_hand(model), rel=1e-5)


@LIBRARIES
def test_the_loss_is_the_mean_of_the_objective_and_the_regularization_and_the_penalty(library):
    model = two_by_two(library, decay=0.1)
    learner = learning(model, library, supervised(library)).prepare(objective, {}, penalty=lambda: 0.25)
    learner.compile(library.optimizers.SGD(0.0))
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(20)  # 20, 20 and 8: examples weigh alike
    loss = learner.evaluate(batches, return_dict=True, verbose=0)["loss"]
    assert loss == pytest.approx(by_hand(model, decay=0.1) + 0.25, rel=1e-5)


@LIBRARIES
def test_a_learner_shares_the_layers_of_its_model_and_adds_no_weights(library):
    model = two_by_two(library)
    learner = learning(model, library, supervised(library)).prepare(objective, {"right": right})
    learner.compile(library.optimizers.SGD(0.1))
    assert [layer.name for layer in learner.layers] == [layer.name for layer in model.layers]
    assert len(learner.weights) == len(learner.variables) == len(model.weights) == 6
    learner.train_on_batch(INPUTS, TARGETS)
    for one, other in zip(learner.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@LIBRARIES
def test_a_bare_output_is_called_after_its_layer(library):
    image = library.Input((4,), name="image")
    bare = library.Model(image, library.layers.Dense(2, name="logits")(image))
    several = library.Model(image, [library.layers.Dense(2, name=name)(image) for name in ("mean", "deviation")])
    row = library.Sequential([library.Input((4,), name="row"), library.layers.Dense(2, name="scores")])
    for model, inputs, outputs in ((bare, {"image"}, {"logits"}), (several, {"image"}, {"mean", "deviation"}),
                                   (row, {"row"}, {"scores"})):
        learner = learning(model, library, supervised(library))
        assert set(learner.input) == inputs and set(learner.output) == outputs


def test_the_wrappers_of_tfmot_do_not_rename_an_output():
    from export.compression import prune, qat

    pixels = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="relu")(pixels))
    model = keras.Model(pixels, keras.layers.Dense(3, name="logits")(x))
    sparse = prune.prepare(model, 0.5, steps=2, constant=True, two_of_four=False, keep_dense=[])
    for wrapped in (sparse, qat.prepare(model)):
        assert "logits" not in [layer.name for layer in wrapped.layers]
        learner = learning(wrapped, tf_keras, supervised(tf_keras))
        assert set(learner.input) == {"image"} and set(learner.output) == {"logits"}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_loss_is_computed_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = two_by_two(keras)
        seen = []

        def watching(inputs, targets, outputs):
            seen.append(outputs["logits"].dtype)
            return objective(inputs, targets, outputs)

        learner = learning(model, keras, supervised(keras)).prepare(watching, {})
        learner.compile(keras.optimizers.SGD(0.1))
        learner.train_on_batch(INPUTS, TARGETS)
        assert set(seen) == {tf.float32} and model.output["logits"].dtype != "float32"
    finally:
        keras.config.set_dtype_policy("float32")


LOGITS = Tensor(name="logits", dtype="float32", shape=(4,), role="logits")
SIZE = Tensor(name="size", dtype="float32", shape=(), role="values")


def heads(**outputs):
    """Logits of 48 examples and 4 classes under several names."""
    return {name: np.random.default_rng(seed).normal(size=(48, 4)).astype("float32") for name, seed in outputs.items()}


def cross_entropy(inputs, targets, outputs):
    target, compare = COMPARED["logits"]
    return compare(targets[target], outputs["logits"])


def test_auxiliary_heads_add_their_share_of_the_loss():
    outputs = heads(logits=1, auxiliary_1=2, auxiliary_2=3, other=4)
    alone = {name: np.asarray(cross_entropy(None, TARGETS, {"logits": output})) for name, output in outputs.items()}
    total = np.asarray(with_auxiliary(cross_entropy, "logits", 0.3)(None, TARGETS, outputs))
    expected = alone["logits"] + 0.3 * alone["auxiliary_1"] + 0.3 * alone["auxiliary_2"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert with_auxiliary(cross_entropy, "logits", 0.0) is cross_entropy


class KindAndSize(Task):
    """Two outputs, each with a target; not registered."""

    pairs = {"logits": "kind", "size": "size"}

    def outputs(self, index):
        return LOGITS, SIZE

    def objective(self, loss, index):
        return objective


class KindAlone(KindAndSize):
    pairs = {"logits": "kind"}

    def objective(self, loss, index):
        return lambda inputs, targets, outputs: 2 * cross_entropy(inputs, targets, outputs)


def test_heads_stand_for_the_first_of_two_paired_outputs_and_count_once():
    index = SimpleNamespace(counts={"train": {"kind": [12] * 4}})
    outputs = {**heads(logits=1, auxiliary_1=2, auxiliary_2=3), "size": TARGETS["size"] + 2}
    alone = {name: np.asarray(cross_entropy(None, TARGETS, {"logits": output})) for name, output in outputs.items()
             if name != "size"}
    on_heads = 0.3 * (alone["auxiliary_1"] + alone["auxiliary_2"])
    loss = Loss.read("cross_entropy")
    both = KindAndSize().trained_objective(loss, index, 0.3)
    np.testing.assert_allclose(np.asarray(both(None, TARGETS, outputs)), alone["logits"] + 4 + on_heads, rtol=1e-5)
    one = KindAlone().trained_objective(loss, index, 0.3)  # whose heads learn what the task makes of its loss
    np.testing.assert_allclose(np.asarray(one(None, TARGETS, outputs)), 2 * (alone["logits"] + on_heads), rtol=1e-5)
    assert KindAndSize().trained_objective(loss, index) is objective
    taught = KindAndSize().trained_objective(
        loss, index, 0.3, lambda untaught, named: lambda *values: untaught(*values) + 10 * len(named))
    np.testing.assert_allclose(np.asarray(taught(None, TARGETS, outputs)), alone["logits"] + on_heads + 30, rtol=1e-5)


def teacher_of(library_seed=5, classes=4):
    keras.utils.set_random_seed(library_seed)
    left = keras.Input((3,), name="left")
    return keras.Model(left, keras.layers.Dense(classes, name="logits")(left))


def softmax(values):
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_a_distilled_loss_is_its_closed_form():
    teacher, outputs = teacher_of(), heads(logits=1)
    loss = distilled(cross_entropy, teacher, Distillation(temperature=3, weight=0.6), INPUTS, [LOGITS])
    theirs, ours = softmax(np.asarray(teacher(INPUTS["left"])) / 3), softmax(outputs["logits"] / 3)
    divergence = (theirs * np.log(theirs / ours)).sum(axis=1)
    expected = 0.4 * np.asarray(cross_entropy(None, TARGETS, outputs)) + 0.6 * 9 * divergence
    np.testing.assert_allclose(np.asarray(loss(INPUTS, TARGETS, outputs)), expected, rtol=1e-4)


def test_a_dense_output_is_distilled_at_every_position():
    pixels = keras.Input((4, 4, 1), name="image")
    teacher = keras.Model(pixels, {"logits": keras.layers.Conv2D(3, 1)(pixels)})
    images = GENERATOR.normal(size=(2, 4, 4, 1)).astype("float32")
    outputs = {"logits": GENERATOR.normal(size=(2, 4, 4, 3)).astype("float32")}
    loss = distilled(lambda inputs, targets, outputs: 0.0, teacher, Distillation(temperature=1, weight=1),
                     ["image"], [LOGITS])
    theirs, ours = softmax(np.asarray(teacher(images)["logits"])), softmax(outputs["logits"])
    expected = (theirs * np.log(theirs / ours)).sum(axis=-1).mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(loss({"image": images}, {}, outputs)), expected, rtol=1e-4)


@LIBRARIES
def test_a_teacher_teaches_and_is_no_part_of_its_student(library):
    teacher = teacher_of()
    before = teacher.get_weights()
    student = two_by_two(library)
    loss = distilled(objective, teacher, Distillation(temperature=2, weight=1.0), INPUTS, [LOGITS])
    learner = learning(student, library, supervised(library)).prepare(loss, {})
    learner.compile(library.optimizers.Adam(0.02))
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(16)
    learner.fit(batches, epochs=60, verbose=0)
    assert len(learner.weights) == 6 and len(learner.trainable_variables) == 6
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    ours, theirs = np.asarray(student(INPUTS)["logits"]), np.asarray(teacher(INPUTS["left"]))
    assert np.mean(ours.argmax(1) == theirs.argmax(1)) > 0.8


def test_a_teacher_that_does_not_answer_is_refused():
    with pytest.raises(UserError, match=r"train\.distill\.teacher: it has no output boxes, it gives logits"):
        distilled(objective, teacher_of(), Distillation(), INPUTS, [LOGITS, SIZE.model_copy(update={"name": "boxes"})])
    with pytest.raises(UserError, match=r"train\.distill\.teacher: it takes an input left, and this task has a, b"):
        distilled(objective, teacher_of(), Distillation(), ["a", "b"], [LOGITS])
    with pytest.raises(UserError, match=r"train\.distill: this task has no outputs"):
        distilled(objective, teacher_of(), Distillation(), INPUTS, [])


def foreign_teacher(units=4):
    """A teacher from one input to one output with names of its own."""
    keras.utils.set_random_seed(6)
    row = keras.Input((3,), name="input_1")
    return keras.Model(row, keras.layers.Dense(units, name="predictions")(row))


def test_one_output_of_a_teacher_is_matched_whatever_it_is_called():
    teacher, outputs = foreign_teacher(), heads(logits=1)
    loss = distilled(cross_entropy, teacher, Distillation(temperature=2, weight=1), ["left"], [LOGITS])
    theirs, ours = softmax(np.asarray(teacher(INPUTS["left"])) / 2), softmax(outputs["logits"] / 2)
    expected = 4 * (theirs * np.log(theirs / ours)).sum(axis=1)
    np.testing.assert_allclose(np.asarray(loss(INPUTS, TARGETS, outputs)), expected, rtol=1e-4)


def test_values_are_distilled_by_their_squared_difference():
    teacher = foreign_teacher(2)
    outputs = {"size": GENERATOR.normal(size=(48, 2)).astype("float32")}
    loss = distilled(lambda inputs, targets, outputs: tf.ones(48), teacher, Distillation(temperature=3, weight=0.6),
                     ["left"], [SIZE])
    expected = 0.4 + 0.6 * ((np.asarray(teacher(INPUTS["left"])) - outputs["size"])**2).mean(axis=1)
    np.testing.assert_allclose(np.asarray(loss(INPUTS, TARGETS, outputs)), expected, rtol=1e-5)


def test_shapes_are_compared_output_by_output():
    both = two_by_two(keras)
    check_shapes(teacher_of(), both, list(INPUTS), ["logits"])
    check_shapes(both, two_by_two(tf_keras), list(INPUTS), ["size", "logits"])
    row = keras.Input((3,), name="row")
    student = keras.Model(row, {"size": keras.layers.Dense(1)(row), "logits": keras.layers.Dense(4)(row)})
    check_shapes(foreign_teacher(), student, ["left"], ["logits"])
    with pytest.raises(UserError, match=r"from \[\(3,\)\] to \(5,\), the student from \[\(3,\)\] to \(4,\); they must"):
        check_shapes(foreign_teacher(5), student, ["left"], ["logits"])
    with pytest.raises(UserError, match=r"from \[\(3,\)\] to \(5,\), the student from \[\(2,\)\] to \(4,\); they must"):
        check_shapes(keras.Model(row, keras.layers.Dense(5, name="logits")(row)), wide_student(), ["row"], ["logits"])


def wide_student():
    row = keras.Input((2,), name="row")
    return keras.Model(row, keras.layers.Dense(4, name="logits")(row))


def test_googlenet_learns_with_its_heads_and_ships_without():
    keras.utils.set_random_seed(2)
    model = models.build("googlenet", input_shape=(32, 32, 1), classes=4, width=0.05)
    compare = Loss.read("cross_entropy").build([], "logits")
    loss = with_auxiliary(lambda inputs, targets, outputs: compare(targets["kind"], outputs["logits"]), "logits", 0.3)
    learner = learning(model, keras, supervised(keras)).prepare(loss, {"right": right})
    learner.compile(keras.optimizers.SGD(0.01))
    before = model.get_layer("auxiliary_1").get_weights()[0]
    images = GENERATOR.integers(0, 256, (48, 32, 32, 1)).astype("float32")
    learner.train_on_batch({"image": images}, {"kind": TARGETS["kind"]})
    assert not np.array_equal(before, model.get_layer("auxiliary_1").get_weights()[0])
    shipped = supervised(keras).shipped(model, ["logits"])
    np.testing.assert_array_equal(np.asarray(shipped(images)), np.asarray(model(images)["logits"]))
