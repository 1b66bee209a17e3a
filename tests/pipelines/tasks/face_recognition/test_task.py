"""The task in the seam: what is learnt, what ships, and what a head does meanwhile."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.signature import Tensor
from models.embedding import embedding
from models.identity_head import COSINES
from pipelines.errors import UserError
from pipelines.features.feature import Learnt
from pipelines.ingest.index import Index, Split
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.face_recognition.task import FaceRecognition, pairs_in_order
from pipelines.training import checkpoint, loop
from pipelines.training.losses import Loss
from pipelines.training.section import TrainSection
from tests.pipelines.training.small import training

NAMES = ["Ann", "Ben", "Cy", "Di"]
#: Ben is in the test split, and has no vector in a head.
TRAINED = [0, 2, 3]
IMAGE = {"image": Tensor(name="image", dtype="uint8", shape=(8, 8, 1), role="image")}
SPLIT = Split(part="train", positions=None, examples=24)
INDEX = Index(source="faces", digest="", splits={"train": SPLIT}, inputs=IMAGE,
              targets={"label": Tensor(name="label", dtype="int64", shape=())},
              learnt={"image": Learnt(), "label": Learnt(names=NAMES)}, counts={"train": {"label": [8, 0, 8, 8]}})
RECIPE = {"name": "faces", "task": "face_recognition", "data": {"source": "distorted_faces"},
          "model": {"builder": "mobilefacenet", "size": 24}}
TASK = FaceRecognition()


def recipe_of(**changed):
    return Recipe.model_validate({**RECIPE, **changed})


def small():
    keras.utils.set_random_seed(5)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255, offset=-0.5)(image))
    return keras.Model(image, embedding(keras.layers.Dense(6)(x)), name="small")


def given(loss, targets, cosines=None, vectors=None):
    objective = TASK.objective(Loss.read(loss), INDEX)
    outputs = {"embedding": tf.constant(vectors) if vectors is not None else tf.zeros((len(targets), 2))}
    outputs |= {COSINES: tf.constant(cosines)} if cosines is not None else {}
    return np.asarray(objective({}, {"label": tf.constant(targets)}, outputs))


def test_a_recipe_without_a_loss_means_arcface_and_the_builder_says_the_size():
    recipe = recipe_of()
    assert recipe.train.loss.entry_name == "arcface" and recipe.task.main.name == "tar_at_far"
    output, = recipe.task.outputs(INDEX)
    assert output.shape == (24,) and output.role == "embedding"
    assert recipe.task.dimensions(INDEX) == {"input_shape": (8, 8, 1)} and recipe.task.labels(INDEX) == []


def test_models_made_elsewhere_are_refused_in_a_line():
    recipe = recipe_of(model={"builder": "file", "path": "face.keras"})
    with pytest.raises(UserError, match=r"model\.builder: face_recognition is learnt by a builder of ours"):
        recipe.task.outputs(INDEX)


def test_the_head_has_a_vector_for_each_identity_that_is_trained_on():
    headed = TASK.with_head(small(), Loss.read("cosface"), INDEX)
    assert headed.output[COSINES].shape == (None, 3)
    model = small()
    assert TASK.with_head(model, Loss.read("triplet"), INDEX) is model
    assert COSINES in TASK.with_head(model, Loss.read({"sum": ["arcface", "triplet"]}), INDEX).output


def test_cosines_are_compared_with_the_identities_that_are_trained_on():
    targets = np.eye(4, dtype="float32")[[0, 3, 1]]
    cosines = np.array([[0.9, 0.1, 0.2], [0.0, 0.3, 0.7], [0.5, 0.5, 0.5]], "float32")
    losses = given("arcface", targets, cosines)
    expected = Loss.read("arcface").build((), "embedding")(targets[:2][:, TRAINED], cosines[:2])
    np.testing.assert_allclose(losses[:2], expected, rtol=1e-6)
    assert losses[2] == 0, "of Ben, who is not trained on, nothing is learnt"


def test_a_sum_compares_cosines_and_distances():
    targets = np.eye(4, dtype="float32")[[0, 0, 2, 2]]
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(4, 6)).astype("float32")
    cosines = generator.uniform(-1, 1, (4, 3)).astype("float32")
    both = given({"sum": {"losses": ["arcface", {"triplet": 0.3}], "weights": [1, 2]}}, targets, cosines, vectors)
    alone = [given("arcface", targets, cosines, vectors), given({"triplet": 0.3}, targets, cosines, vectors)]
    np.testing.assert_allclose(both, alone[0] + 2 * alone[1], rtol=1e-5)


def test_without_its_head_a_variant_learns_from_distances():
    targets = np.eye(4, dtype="float32")[[0, 0, 2, 2]]
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    expected = given({"triplet": 0.3}, targets, None, vectors)
    np.testing.assert_allclose(given("arcface", targets, None, vectors), expected)


def test_losses_that_are_not_for_embeddings_are_refused():
    with pytest.raises(UserError, match="mse is not for embeddings; give arcface"):
        TASK.objective(Loss.read("mse"), INDEX)
    with pytest.raises(UserError, match="compares classes, and this task's output is embedding"):
        TASK.objective(Loss.read("cross_entropy"), INDEX)


def test_pairs_in_order_is_the_area_under_each_examples_curve():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
    labels = np.append(generator.integers(0, 4, 29), 7)
    shares = pairs_in_order(tf.one_hot(labels, 8), tf.constant(vectors)).numpy()
    for number in range(29):
        others = np.arange(30) != number
        expected = roc_auc_score(labels[others] == labels[number], (vectors @ vectors[number])[others])
        assert shares[number] == pytest.approx(expected, abs=1e-5)
    assert shares[29] == 0.5, "alone of its identity"


class Killed(Exception):
    """Stands for what ends a process."""


def fitted(folder, kill_at=None):
    """Return the trained model; where it is killed, of a second process that goes on."""
    labels = np.arange(24) % 3
    noise = np.random.default_rng(1).integers(0, 64, (24, 8, 8, 1))
    images = (noise + 60 * labels[:, None, None, None]).astype("float32")
    targets = {"label": np.eye(4, dtype="float32")[np.array(TRAINED)[labels]]}
    folder.mkdir(exist_ok=True)
    settings = TrainSection(epochs=4, loss=Loss.read("arcface"), deterministic=False)

    class Killing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == self.model.kill_at:
                raise Killed

    def once(kill):
        model = TASK.with_head(small(), settings.loss, INDEX)
        plan = training(folder, settings, {"image": images}, targets, batch=8, objective=TASK.objective(
            settings.loss, INDEX), watched=TASK.watch(INDEX), monitored=TASK.watched, callbacks=[Killing()])
        learner = TASK.learner(keras)
        learner.kill_at = kill
        loop.fit(model, plan, learner)
        return model

    if kill_at is None:
        return once(None)
    with pytest.raises(Killed):
        once(kill_at)
    assert checkpoint.progress(folder)[0] == kill_at
    return once(None)


def test_identities_are_learnt_written_down_and_read_back(tmp_path):
    whole, resumed = fitted(tmp_path / "whole"), fitted(tmp_path / "killed", kill_at=2)
    fresh = TASK.with_head(small(), Loss.read("arcface"), INDEX)
    vectors = [model.get_layer(COSINES).kernel.numpy() for model in (whole, resumed, fresh)]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3
    shipped = TASK.learner(keras).shipped(whole, ["embedding"])
    assert list(models.named_outputs(shipped)) == ["embedding"] and len(shipped.weights) == 2
