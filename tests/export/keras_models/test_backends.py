"""Keras models that were saved on its other backends: they load as they are."""
import os
import subprocess
import sys

import numpy as np
import pytest

from export.frameworks import torch_programs
from export.keras_models import original
from export.keras_models.load import load

CODE = '''
import sys
import keras
import numpy as np
layers = keras.layers
keras.utils.set_random_seed(3)
model = keras.Sequential([
    keras.Input((12, 10, 3)), layers.Conv2D(4, 3, 2, "same"), layers.BatchNormalization(), layers.Activation("silu"),
    layers.DepthwiseConv2D(3), layers.LayerNormalization(), layers.Flatten(), layers.Dense(5, "softmax")])
model.get_layer("batch_normalization").set_weights([[0.5, 1, 1.5, 2], [0, 0.1, 0.2, 0.3], [0, 1, 2, 3], [1, 2, 3, 4]])
model.save(sys.argv[1] + "/m.keras")
images = np.random.default_rng(0).normal(size=(4, 12, 10, 3)).astype("float32")
np.savez(sys.argv[1] + "/asked.npz", images=images, answers=keras.ops.convert_to_numpy(model(images, training=False)))
'''


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_model_of_another_backend_answers_alike(tmp_path, backend):
    if backend == "jax":
        pytest.importorskip("jax")
        python = sys.executable
    else:
        try:
            python = torch_programs.python()
        except ValueError as error:
            pytest.skip(str(error))
    subprocess.run([python, "-c", CODE, tmp_path], check=True, capture_output=True, cwd=tmp_path,
                   env={**os.environ, "KERAS_BACKEND": backend})
    asked = np.load(tmp_path / "asked.npz")
    np.testing.assert_allclose(load(tmp_path / "m.keras")(asked["images"], training=False), asked["answers"], atol=1e-5)
    answered = original.answers(tmp_path / "m.keras", [asked["images"]])[0]
    np.testing.assert_allclose(answered, asked["answers"], atol=1e-5)
