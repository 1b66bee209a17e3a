"""From a recipe to its model: what the task needs of it, and models that were made elsewhere."""
import keras
import numpy as np
import pytest

from export.signature import Tensor
from pipelines.errors import UserError
from pipelines.tasks.image_classification import ImageClassification
from pipelines.training import network
from pipelines.training.model_section import ImportedModel, ModelSection

ADOPT = ImageClassification().adopt
DIMENSIONS = {"input_shape": (32, 32, 3), "classes": 4}


def wanted(name="logits", shape=(4,)):
    return [Tensor(name=name, dtype="float32", shape=shape, role="logits")]


def section(**settings):
    return ModelSection.model_validate({"builder": "resnet8", **settings})


def test_a_builder_is_given_the_datas_dimensions_and_the_recipes_settings():
    model = network.build(section(width=4), DIMENSIONS, wanted(), ADOPT)
    assert model.output.shape == (None, 4) and model.layers[2].filters == 4


@pytest.mark.parametrize(("dimensions", "outputs", "expected"), [
    (DIMENSIONS, wanted("boxes"), "model: resnet8 has no output boxes, which the task needs; it has logits"),
    (DIMENSIONS, wanted(shape=(8, 8, 4)), r"model: resnet8 gives logits of \(4,\); the task needs \(8, 8, 4\)"),
    ({"length": 7}, wanted(), "resnet8 is built from input_shape, classes; input_shape is not given, only length"),
])
def test_a_model_that_does_not_do_is_refused(dimensions, outputs, expected):
    with pytest.raises(UserError, match=expected):
        network.build(section(), dimensions, outputs, ADOPT)


def test_a_size_that_varies_fits_any():
    pixels = keras.Input((None, None, 3), name="image")
    model = keras.Model(pixels, {"logits": keras.layers.Conv2D(4, 1)(pixels)})
    network.check_outputs(model, wanted(shape=(8, 8, 4)))
    with pytest.raises(ValueError, match="the task needs"):
        network.check_outputs(model, wanted(shape=(8, 8, 5)))


def test_a_model_made_elsewhere_is_taken_as_the_task_takes_it(tmp_path):
    pixels = keras.Input((8, 8, 3))
    path = str(tmp_path / "theirs.keras")
    keras.Model(pixels, keras.layers.Dense(4, "softmax")(keras.layers.Flatten()(pixels))).save(path)
    recipe = ModelSection.model_validate({"builder": "file", "path": path, "pixels": "0..1"})
    assert recipe.imported == ImportedModel(path=path, pixels="0..1")
    assert section().imported is None
    received = []

    def adopt(model, settings):
        received.append(settings)
        return keras.Model(model.input, {"logits": model.output})

    assert set(network.build(recipe, {}, wanted(), adopt).output) == {"logits"} and received == [recipe.imported]
    classifier = network.build(recipe, {}, wanted(), ADOPT)
    logits = np.asarray(keras.tree.flatten(classifier(np.full((1, 8, 8, 3), 255, "float32")))[0])
    assert abs(logits.sum() - 1) > 1e-3, "the softmax is taken off"


def test_a_file_that_is_not_a_keras_model_cannot_be_trained(tmp_path):
    recipe = ModelSection.model_validate({"builder": "file", "path": str(tmp_path / "model.tflite")})
    with pytest.raises(UserError, match=r"model\.tflite is not a Keras model: it can be pressed, not trained"):
        network.build(recipe, {}, wanted(), ADOPT)
