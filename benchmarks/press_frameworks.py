"""Models of PyTorch, ONNX and JAX that `benchmarks/press.py` presses for three targets, against the originals."""
from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from press_models import LITEPRESS

from export.frameworks import torch_programs

SCRIPT = Path(__file__).with_name("torch_models.py")
#: Where a model is from, and its name.
MODELS = (("pt2", "resnet18"), ("pt2", "mobilenet_v3_small"), ("pt2", "vit"), ("jax", "convolutions"),
          ("jax", "attention"), ("onnx", "mobilenet_v2"), ("onnx", "convnext"), ("onnx", "text_transformer"))
LIBRARIES = {"pt2": "PyTorch", "jax": "JAX", "onnx": "ONNX"}
#: Functions of JAX, trained on digits for a few hundred steps.
JAX = '''
import jax
import jax.numpy as jnp
import numpy as np

digits = np.load("digits.npz")
images, labels = digits["images"][:1200, :, :, None], digits["labels"][:1200]

def trained(forward, parameters):
    def loss(parameters, images, labels):
        scores = jax.nn.log_softmax(forward(parameters, images))
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], 1))
    step = jax.jit(lambda parameters, *batch: jax.tree.map(
        lambda one, slope: one - 0.1 * slope, parameters, jax.grad(loss)(parameters, *batch)))
    generator = np.random.default_rng(0)
    for _ in range(400):
        rows = generator.integers(0, len(images), 64)
        parameters = step(parameters, images[rows], labels[rows])
    return lambda image: forward(parameters, image)

def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32") / np.sqrt(np.prod(shape[:-1]))

def convolutions():
    def forward(parameters, x):
        for kernel in parameters[:-1]:
            x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x)
        return x.mean((1, 2)) @ parameters[-1]
    return trained(forward, [normal(3, 3, 1, 16), normal(3, 3, 16, 32), normal(32, 10)])

def attention():
    def forward(parameters, x):
        query, key, value, last = parameters
        x = x[..., 0]
        scores = jax.nn.softmax((x @ query) @ jnp.swapaxes(x @ key, 1, 2) / 4)
        return jax.nn.gelu(scores @ (x @ value)).mean(1) @ last
    return trained(forward, [normal(8, 16), normal(8, 16), normal(8, 64), normal(64, 10)])
'''


@dataclasses.dataclass(frozen=True)
class Pressed:
    """What came of a model.

    Args:
        largest: difference of the float32 file of each target, as a share of the largest number of an output.
        agreement: of the int8 and the dynamic file of each target that has one, by variant and target.
    """

    largest: dict[str, float]
    agreement: dict[tuple[str, str], float]


def pressed(form: str, name: str) -> Pressed:
    """Write a model, press it from the command line, and return what came of it.

    Raises:
        subprocess.CalledProcessError: it was not written or pressed; what was said is in stderr.
        ValueError: PyTorch is not installed.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = (digits.images[order] / 16).astype("float32"), digits.target[order].astype("int32")
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        np.savez(folder / "digits.npz", images=images, labels=labels)
        if form == "jax":
            (folder / "jax_models.py").write_text(JAX)
            np.savez(folder / "data.npz", image=images[1200:, :, :, None])
            model = ["--jax", f"jax_models:{name}"]
        else:
            subprocess.run([torch_programs.python(), SCRIPT, folder, form, name], check=True, capture_output=True,
                           text=True)
            model = [f"model.{form}"]
        command = [LITEPRESS, "press", *model, "--data", "data.npz", "--task", "equivalence", "--variants",
                   "float32,int8,dynamic", "--targets", "litert,onnx,saved_model", "--no-track", "--json", "r.json"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        artifacts = json.loads((folder / "r.json").read_text())["artifacts"]
    largest = {one["target"]: one["metrics"]["largest"] for one in artifacts if one["variant"] == "float32"}
    agreement = {(one["variant"], one["target"]): one["metrics"]["agreement"] for one in artifacts
                 if one["variant"] in ("int8", "dynamic")}
    if ("int8", "litert") not in agreement:
        raise ValueError(f"{name}: no int8 file was made")
    return Pressed(largest, agreement)
