"""A model of two named inputs and two named outputs, examples for it, and what it is to learn of them."""
import numpy as np

from pipelines.training.losses import Loss

GENERATOR = np.random.default_rng(0)
INPUTS = {"left": GENERATOR.normal(size=(48, 3)).astype("float32"),
          "right": GENERATOR.normal(size=(48, 2)).astype("float32")}
TARGETS = {"kind": np.eye(4, dtype="float32")[GENERATOR.integers(0, 4, 48)],
           "size": GENERATOR.normal(size=48).astype("float32")}
COMPARED = {"logits": ("kind", Loss.read("cross_entropy").build([12] * 4, "logits")),
            "size": ("size", Loss.read("mse").build([], "values"))}


def two_by_two(library, decay=0.0):
    """Two named inputs, two named outputs."""
    library.utils.set_random_seed(1)
    left, right = library.Input((3,), name="left"), library.Input((2,), name="right")
    x = library.layers.Concatenate()([left, right])
    x = library.layers.Dense(8, "relu", kernel_regularizer=library.regularizers.L2(decay) if decay else None)(x)
    return library.Model({"left": left, "right": right}, {
        "logits": library.layers.Dense(4, name="classes")(x), "size": library.layers.Dense(1, name="number")(x)})


def objective(inputs, targets, outputs):
    return sum(compare(targets[target], outputs[output]) for output, (target, compare) in COMPARED.items())
