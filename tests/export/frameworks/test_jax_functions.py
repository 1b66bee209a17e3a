"""Functions of JAX as graphs: the same answers."""
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.frameworks import jax_functions
from export.keras_models import as_graph
from export.predictors import LiteRTPredictor, SavedModelPredictor

pytest.importorskip("jax")
CODE = '''
import jax
import numpy as np

generator = np.random.default_rng(0)
kernel = 0.2 * generator.normal(size=(3, 3, 3, 8)).astype("float32")
units = generator.normal(size=(8, 5)).astype("float32")

def network():
    def call(image):
        x = jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return {"logits": jax.nn.gelu(x).mean((1, 2)) @ units}
    return call

def two():
    return lambda left, right: [left @ units[:4], jax.nn.softmax(right - left)]

def indexed():
    return lambda image: {"logits": jax.nn.softmax(image[..., 0] @ units[:4]).mean(1) + image[:, 0, 1:2, 0]}

def of_nnx():
    from flax import nnx
    keys = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(4, 8, rngs=keys), nnx.relu, nnx.Linear(8, 3, rngs=keys))

def of_linen():
    from flax import linen
    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.relu(linen.Dense(8)(x)))
    network = Network()
    return network.bind(network.init(jax.random.key(0), np.zeros((1, 4), "float32")))

def number():
    return 3
'''
INPUTS = {"of_nnx": {"x": (4,)}, "of_linen": {"x": (4,)}, "network": {"image": (12, 10, 3)},
          "indexed": {"image": (6, 4, 1)}, "two": {"left": (4,), "right": (4,)}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("jax_nets.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("jax_nets", None)


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_a_function_answers_as_in_jax(here, name):
    if name.startswith("of_"):
        pytest.importorskip("flax")
    generator = np.random.default_rng(1)
    inputs = {key: generator.normal(size=(6, *shape)).astype("float32") for key, shape in INPUTS[name].items()}
    jax_functions.export(f"jax_nets:{name}", inputs, here / "saved")
    signature = as_graph.signature_of(here / "saved")
    expected = jax_functions.JaxFunction(f"jax_nets:{name}").answers(inputs)
    assert {tensor.name for tensor in signature.outputs} == set(expected)
    (here / "m.tflite").write_bytes(as_graph.as_named_tflite(here / "saved", signature.inputs))
    assert as_graph.served(here / "saved", here / "served", signature.inputs)
    for predictor in (LiteRTPredictor(here / "m.tflite"), SavedModelPredictor(here / "served")):
        answered = predictor.predict(inputs)
        for key, values in expected.items():
            np.testing.assert_allclose(answered[key], values, atol=1e-5 * np.abs(values).max())
    served = tf.saved_model.load(str(here / "served")).signatures["serving_default"]
    together = served(**{key: tf.constant(values) for key, values in inputs.items()})
    for key, values in expected.items():
        np.testing.assert_allclose(together[key], values, atol=1e-5 * np.abs(values).max())


@pytest.mark.slow
def test_what_is_no_function_of_arrays_is_said_in_a_line(here):
    inputs = {"left": np.zeros((4, 4), "float32")}
    for name, says in {"jax_nets:number": "it must give a function of arrays", "jax_nets:none": "cannot be had",
                       "nothing:two": "cannot be had: No module named 'nothing'"}.items():
        with pytest.raises(ValueError, match=says):
            jax_functions.export(name, inputs, here / "saved")
    with pytest.raises(ValueError, match="jax_nets:two"):
        jax_functions.export("jax_nets:two", inputs, here / "saved")
