"""State dicts of PyTorch in networks built here: the same logits."""
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import models
from export.frameworks import torch_programs
from models import torch_weights
from models.torch_names import names_of

numpy_file = pytest.importorskip("safetensors.numpy")
SIDE, CLASSES, WIDTH = 32, 3, 4
STATES = Path(__file__).with_name("torch_states.py")
ALL = ["torchvision.resnet18", "torchvision.resnet50", "torchvision.mobilenet_v2", "torchvision.mobilenet_v3_small",
       "torchvision.mobilenet_v3_large", "torchvision.efficientnet_b0", "torchvision.convnext_tiny",
       "torchvision.vit_base", "timm.resnet50", "timm.mobilenet_v2", "timm.mobilenet_v3_large", "timm.efficientnet_b0",
       "timm.convnext_tiny", "timm.vit_tiny"]


def resnet18_state():
    """Random weights of a narrow ResNet-18, under torchvision's names."""
    generator, state = np.random.default_rng(0), {}

    def convolution(name, norm, size, inner, outer):
        state[f"{name}.weight"] = generator.normal(size=(outer, inner, size, size)) * (2 / (inner * size**2)) ** 0.5
        for key in ("weight", "running_var"):
            state[f"{norm}.{key}"] = generator.uniform(0.5, 1.5, outer)
        for key in ("bias", "running_mean"):
            state[f"{norm}.{key}"] = generator.normal(size=outer) * 0.2
        state[f"{norm}.num_batches_tracked"] = np.array(7)

    convolution("conv1", "bn1", 7, 3, WIDTH)
    for stage in range(4):
        outer = WIDTH * 2**stage
        for block in range(2):
            inner, name = (outer // 2 if stage and not block else outer), f"layer{stage + 1}.{block}"
            convolution(f"{name}.conv1", f"{name}.bn1", 3, inner, outer)
            convolution(f"{name}.conv2", f"{name}.bn2", 3, outer, outer)
            if stage and not block:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", 1, inner, outer)
    state["fc.weight"] = generator.normal(size=(CLASSES, 8 * WIDTH))
    state["fc.bias"] = generator.normal(size=CLASSES)
    return {name: value.astype("int64" if "tracked" in name else "float32") for name, value in state.items()}


def resnet18_logits(state, images):
    """What torchvision's code computes, in its padding and epsilon."""
    x = (images / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])

    def convolution(x, name, norm, stride, relu=True):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        around = len(kernel) // 2
        x = tf.nn.conv2d(tf.pad(x, [(0, 0), (around, around), (around, around), (0, 0)]), kernel, stride, "VALID")
        x = tf.nn.batch_normalization(x, state[f"{norm}.running_mean"], state[f"{norm}.running_var"],
                                      state[f"{norm}.bias"], state[f"{norm}.weight"], 1e-5)
        return tf.nn.relu(x) if relu else x

    x = convolution(x, "conv1", "bn1", 2)
    x = tf.nn.max_pool2d(tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 2, "VALID")
    for stage in range(4):
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = convolution(convolution(x, f"{name}.conv1", f"{name}.bn1", stride), f"{name}.conv2", f"{name}.bn2", 1,
                            relu=False)
            if stride == 2:
                x = convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", 2, relu=False)
            x = tf.nn.relu(x + y)
    return tf.reduce_mean(x, (1, 2)) @ state["fc.weight"].T + state["fc.bias"]


def built(builder, path, side=SIDE, classes=CLASSES, **settings):
    made = models.builder(builder)
    return torch_weights.formed(made.build({"input_shape": (side, side, 3), "classes": classes},
                                           made.settings()(**settings).model_dump()), builder, path)


def images(side):
    return np.random.default_rng(1).integers(0, 256, (4, side, side, 3)).astype("float32")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A narrow ResNet-18 as PyTorch draws it."""
    path = tmp_path_factory.mktemp("state") / "w.safetensors"
    numpy_file.save_file(resnet18_state(), path)
    return built("resnet18", path, width=WIDTH)


def test_resnet18_answers_as_torchvision_computes_it(tmp_path, narrow):
    state, model = resnet18_state(), narrow
    numpy_file.save_file(state, tmp_path / "w.safetensors")
    loaded = torch_weights.load(model, "resnet18", tmp_path / "w.safetensors")
    assert len(loaded) == 41 and "logits" in loaded
    np.testing.assert_allclose(model(images(SIDE), training=False), resnet18_logits(state, images(SIDE)), atol=1e-4)


def test_a_classifier_of_other_classes_starts_anew(tmp_path, narrow):
    state = resnet18_state() | {"fc.weight": np.ones((7, 8 * WIDTH), "float32"), "fc.bias": np.ones(7, "float32")}
    numpy_file.save_file(state, tmp_path / "w.safetensors")
    loaded = torch_weights.load(narrow, "resnet18", tmp_path / "w.safetensors")
    assert len(loaded) == 40 and "logits" not in loaded


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


WRONG = {
    "a missing weight": (without("layer2.1.conv2.weight"), "has no layer2.1.conv2.weight, which layer"),
    "a weight too many": (lambda state: {**state, "neck.weight": np.ones(3, "float32")},
                          "has neck.weight, which resnet18 has no layer for"),
    "another size": (lambda state: {**state, "conv1.weight": np.ones((WIDTH, 3, 3, 3), "float32")},
                     "conv1 has .* it is of another network or another size")}


@pytest.mark.parametrize("title", WRONG)
def test_weights_of_another_network_are_refused(tmp_path, narrow, title):
    change, message = WRONG[title]
    numpy_file.save_file(change(resnet18_state()), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=message):
        torch_weights.load(narrow, "resnet18", tmp_path / "w.safetensors")


def test_files_and_builders_without_such_weights_are_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"is not a \.safetensors file; write one in PyTorch"):
        torch_weights.read(tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot be read as a \.safetensors file"):
        torch_weights.read(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="weights of PyTorch are known of resnet18"):
        names_of("lenet5", None, ())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_network_answers_as_in_pytorch(tmp_path, name):
    try:
        python = torch_programs.python()
    except ValueError as error:
        pytest.skip(str(error))
    np.save(tmp_path / "images.npy", images(64))
    subprocess.run([python, STATES, tmp_path, name], check=True, capture_output=True)
    builder = name.partition(".")[2]
    model = built(builder, tmp_path / f"{name}.safetensors", 64, 10)
    torch_weights.load(model, builder, tmp_path / f"{name}.safetensors")
    expected = np.load(tmp_path / f"{name}.npy")
    np.testing.assert_allclose(model(images(64), training=False), expected, atol=1e-4 * max(1, np.abs(expected).max()))
