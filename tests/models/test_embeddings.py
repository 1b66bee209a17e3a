"""Models that give embeddings, and the head that they are trained under."""
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import models
from export.conversion import convert
from export.keras_models import bridge, graph
from export.keras_models import file as keras_file
from export.predictors import LiteRTPredictor
from export.signature import DEFAULT, Signature, Tensor
from export.tflite import file as tflite_file
from models.embedding import embedding
from models.identity_head import with_identities

SMALL = {"mobilefacenet": {"width": 0.125, "size": 16, "skip_halvings": 2}, "iresnet18": {"width": 8, "size": 24}}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1)).astype("uint8")


def built(name):
    keras.utils.set_random_seed(3)
    return models.build(name, input_shape=(32, 32, 1), **SMALL[name])


@pytest.mark.parametrize("name", ["iresnet18", pytest.param("mobilefacenet", marks=pytest.mark.slow)])
def test_embeddings_are_of_length_1_in_built_in_operators_and_in_integers(name, tmp_path):
    model = built(name)
    expected = np.asarray(model(PIXELS, training=False))
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    signature = Signature(
        inputs=(Tensor(name="image", dtype="float32", shape=(32, 32, 1), role="image"),),
        outputs=(Tensor(name="embedding", dtype="float32", shape=expected.shape[1:], role="embedding"),))
    convert.float_graph(model, lambda plain: [graph.function(plain, signature)], tmp_path / "graph")
    for variant, calibration, least in (("float32", None, 0.99999), ("int8", [(DEFAULT, {"image": PIXELS})], 0.98)):
        path = tmp_path / f"{variant}.tflite"
        path.write_bytes(convert.convert(tmp_path / "graph", variant, calibration))
        given = LiteRTPredictor(path).predict({"image": PIXELS})["embedding"]
        cosines = (given * expected).sum(axis=1) / np.linalg.norm(given, axis=1)
        assert cosines.min() > least
    operators = {one["op_name"] for one in Interpreter(str(path))._get_ops_details()}
    assert "L2_NORMALIZATION" in operators and not tflite_file.float_operators(path.read_bytes())
    assert not any(operator.startswith("Flex") for operator in operators)


def test_a_vector_of_zeros_is_no_division_by_zero():
    vector = keras.Input((4,))
    assert np.asarray(keras.Model(vector, embedding(vector))(np.zeros((1, 4), "float32"))).tolist() == [[0, 0, 0, 0]]


def test_it_survives_a_keras_file(tmp_path, small):
    keras_file.save(small, tmp_path / "model.keras")
    loaded = keras_file.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(PIXELS), small(PIXELS))


@pytest.fixture
def small():
    """Return a model of embeddings that is made in no time."""
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 32, 1), name="image")
    x = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255, offset=-0.5)(image))
    return keras.Model(image, embedding(keras.layers.Dense(6)(keras.layers.Flatten()(x))))


def test_the_head_gives_cosines_with_vectors_of_length_1(small):
    model = with_identities(small, 5)
    kernel = model.get_layer("cosines").kernel.numpy()
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-6)
    given = model(PIXELS, training=False)
    np.testing.assert_allclose(given["cosines"], np.asarray(given["embedding"]) @ kernel, atol=1e-5)


def test_the_vectors_learn_and_keep_their_length(small):
    model = with_identities(small, 4)
    before = model.get_layer("cosines").kernel.numpy()
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), loss={"embedding": None, "cosines": "mse"})
    model.fit(PIXELS, {"cosines": np.eye(4, dtype="float32")[np.arange(40) % 4]}, epochs=1, verbose=0)
    after = model.get_layer("cosines").kernel.numpy()
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(after, axis=0), 1, atol=1e-5)


def test_what_ships_has_no_head(small):
    shipped = models.cut(with_identities(small, 1000), ["embedding"])
    assert shipped.count_params() == small.count_params()
    assert list(models.named_outputs(shipped)) == ["embedding"]


def test_it_crosses_the_bridge_with_its_head(small):
    model = with_identities(small, 5)
    crossed = bridge.to_tf_keras(model)
    for name, values in crossed(PIXELS).items():
        np.testing.assert_allclose(values, model(PIXELS)[name], atol=1e-5)
    assert type(crossed.get_layer("cosines").kernel_constraint).__name__ == "UnitNorm"
    assert type(bridge.to_keras(crossed).get_layer("cosines").kernel_constraint).__name__ == "UnitNorm"
