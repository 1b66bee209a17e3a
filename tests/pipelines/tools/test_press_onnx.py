"""`litepress press` of ONNX files, from the command line."""
import json
from pathlib import Path

import numpy as np
import pytest

from tests.export.onnx_models.graphs import written

pytest.importorskip("onnxruntime")
NODES = """a = Conv<pads = [1, 1, 1, 1]>(pixels, k)  b = Relu(a)
    c = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(b)
    d = GlobalAveragePool(c)  e = Flatten(d)  y = Gemm<transB = 1>(e, w, v)"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a small network, and pictures for it in both layouts."""
    monkeypatch.chdir(tmp_path)
    written(Path("m.onnx"), NODES, constants={"k": (6, 3, 3, 3), "w": (5, 6), "v": (5,)},
            inputs="float[batch, 3, 12, 10] pixels")
    pictures = np.random.default_rng(0).normal(size=(24, 3, 12, 10)).astype("float32")
    np.savez("first.npz", pixels=pictures)
    np.savez("last.npz", pixels=pictures.transpose(0, 2, 3, 1))
    return tmp_path


def test_an_onnx_file_is_pressed_for_every_target(here, litepress):
    message = litepress("press", "m.onnx", "--data", "first.npz", "--variants", "float32,int8", "--targets",
                        "litert,onnx,saved_model", "--json", "r.json", "--no-track")
    assert message.code == 0, message.out + message.err
    artifacts = json.loads(Path("r.json").read_text())["artifacts"]
    of = {(one["target"], one["variant"]): one["metrics"] for one in artifacts}
    assert set(of) == {("litert", "float32"), ("litert", "int8"), ("onnx", "float32"), ("onnx", "int8"),
                       ("saved_model", "float32")}
    assert all(metrics["largest"] < 1e-5 for (_, variant), metrics in of.items() if variant == "float32")
    assert of["litert", "int8"]["agreement"] > 0.8 and of["litert", "int8"]["largest"] < 0.1
    assert "images are channels first, (1, 3, 12, 10), as in the original; --layout nhwc turns them" in message.out


def test_what_cannot_be_pressed_is_said_in_a_line(here, litepress):
    message = litepress("press", "m.onnx", "--data", "last.npz", "--no-track")
    assert message.code == 2
    assert "pixels is of (batch, 12, 10, 3); the model takes pixels (batch, 3, 12, 10)" in message.err
    message = litepress("press", "m.onnx", "--data", "first.npz", "--layout", "nchw", "--no-track")
    assert message.code == 2 and message.err.startswith("--layout nchw: give nhwc, which turns images")
    message = litepress("press", "--data", "first.npz")
    assert message.code == 2 and "press: give one model" in message.err
    message = litepress("press", "m.onnx")
    assert message.code == 2 and "press: m.onnx: give --data DATA" in message.err
    message = litepress("press", "--torch", "nothing", "--data", "first.npz")
    assert message.code == 2 and "--torch nothing: give module:function" in message.err
    message = litepress("press", "--jax", "nothing:here", "--data", "photos")
    assert message.code == 2 and "--data photos: give an .npz or .npy file of the model's inputs" in message.err
