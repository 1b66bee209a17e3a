"""Models in forms that delegates take: the same weights and values, and no tensor of five dimensions."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import graph
from export.keras_models.for_delegates import for_delegates
from export.predictors import LiteRTPredictor
from export.signature import Signature, Tensor
from export.tflite import gpu_coverage

#: Builders of pictures as they are on devices: settings, what goes in, and what comes out.
BUILDERS = {
    "ddpm": ({"input_shape": (8, 8, 1), "noise_shape": (8, 8, 1), "classes": 3, "width": 8, "multipliers": (1, 2),
              "units": 1, "attention": (4,), "groups": 4}, ["noise", "step", "condition"], "denoised"),
    "pix2pix": ({"input_shape": (16, 16, 1), "output_shape": (16, 16, 1), "depth": 4, "width": 4,
                 "discriminator_steps": 2}, ["image"],
                "generated"),
    "cyclegan": ({"input_shape": (16, 16, 1), "output_shape": (16, 16, 1), "width": 4, "residual_blocks": 1,
                  "discriminator_steps": 2}, ["image"], "generated"),
    "dcgan": ({"input_shape": (8, 8, 1), "noise_shape": (6,), "classes": 3, "width": 4, "depth": 2},
              ["noise", "condition"], "generated"),
    "stylegan2": ({"input_shape": (8, 8, 1), "noise_shape": (6,), "classes": 3, "width": 8, "most": 8, "depth": 2,
                   "units": 8, "layers": 2}, ["noise", "condition"], "generated"),
    "vae": ({"input_shape": (8, 8, 1), "noise_shape": (6,), "classes": 0, "units": 16}, ["noise"], "generated")}


def made(name):
    """Return the part of a builder's model that ships, its weights random, and inputs of one example."""
    settings, inputs, output = BUILDERS[name]
    model, generator = models.build(name, **settings), np.random.default_rng(0)
    for weight in model.trainable_variables:
        if not np.asarray(weight).any():
            weight.assign(generator.normal(0, 0.3, weight.shape))
    given, said = models.named_inputs(model), models.named_outputs(model)
    part = keras.Model({one: given[one] for one in inputs}, {output: said[output]}, name=name)
    example = {one: generator.normal(size=(1, *given[one].shape[1:])).astype("float32") for one in inputs}
    if "image" in example:
        example["image"] = generator.integers(0, 256, example["image"].shape).astype("float32")
    if "step" in example:
        example["step"] = np.array([400.0], "float32")
    return part, example


def converted(model, example, folder):
    """Return a model's float32 file, and what it gives."""
    inputs = tuple(Tensor(name=name, dtype="float32", shape=values.shape[1:]) for name, values in example.items())
    (name,) = models.named_outputs(model)
    signature = Signature(inputs=inputs, outputs=(Tensor(name=name, dtype="float32", shape=model.outputs[0].shape[
        1:]),))
    convert.float_graph(model, lambda one: [graph.function(one, signature)], folder / "graph")
    content = convert.convert(folder / "graph", "float32")
    (folder / "file.tflite").write_bytes(content)
    return content, LiteRTPredictor(folder / "file.tflite").predict(example)[name]


@pytest.mark.parametrize("groups", [-1, 1, 4, 12])
@pytest.mark.parametrize("affine", [False, True])
def test_group_normalization_has_the_same_values_and_weights(groups, affine):
    maps = keras.Input((6, 5, 12))
    x = keras.layers.GroupNormalization(groups, center=affine, scale=affine, epsilon=1e-5)(maps)
    model = keras.Model(maps, keras.layers.UpSampling2D((2, 3))(x))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))
    other = for_delegates(model)
    assert other is not model and all(one is two for one, two in zip(other.weights, model.weights, strict=True))
    values = generator.normal(3, 2, (2, 6, 5, 12)).astype("float32")
    np.testing.assert_allclose(other(values), model(values), atol=1e-5)


def test_other_layers_stay():
    maps = keras.Input((None, None, 4))
    smooth = keras.layers.UpSampling2D(2, interpolation="bilinear")(maps)
    for output in (smooth, keras.layers.GroupNormalization(2)(maps), keras.layers.GroupNormalization(2, axis=1)(
            keras.Input((4, 6, 6), name="first"))):
        model = keras.Model(output._keras_history.operation.input, output)
        assert for_delegates(model) is model


@pytest.mark.parametrize("name", ["pix2pix", *(pytest.param(name, marks=pytest.mark.slow) for name in BUILDERS
                                               if name != "pix2pix")])
def test_a_gpu_takes_all_operators_of_what_makes_pictures(name, tmp_path):
    part, example = made(name)
    other = for_delegates(part)
    assert (other is part) == (name in ("dcgan", "stylegan2", "vae"))
    assert {id(weight) for weight in other.weights} == {id(weight) for weight in part.weights}
    content, values = converted(other, example, tmp_path)
    expected = next(iter(part.predict(example, verbose=0).values()))
    np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())
    coverage = gpu_coverage.coverage(content)
    assert coverage.taken == coverage.total, coverage.left
