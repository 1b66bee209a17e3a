"""Models of PyTorch: exported, read, and held against PyTorch; what is said where they cannot be."""
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.frameworks import torch_programs
from pipelines.errors import UserError
from pipelines.tools import press_program
from pipelines.tools.press_model import PressSettings

CODE = '''
import torch

def network():
    torch.manual_seed(3)
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 5))

def number():
    return 3
'''
#: Writes a program whose sizes are open, and one of two examples.
OPEN = '''
import nets
import torch
from torch.export import Dim

def saved(path, **sizes):
    torch.export.save(torch.export.export(nets.network().eval(), (torch.zeros(2, 3, 20, 24),), **sizes), path)

saved("sizes.pt2", dynamic_shapes=({0: Dim("batch"), 2: Dim("height", min=8, max=64), 3: Dim("width", min=8, max=64)},))
saved("height.pt2", dynamic_shapes=({0: Dim("batch"), 2: Dim("height", min=8, max=64)},))
saved("two.pt2")
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(CODE)
    pictures = np.random.default_rng(0).normal(size=(16, 3, 20, 24)).astype("float32")
    np.savez("first.npz", input=pictures)
    np.savez("last.npz", input=pictures.transpose(0, 2, 3, 1))
    return tmp_path


@pytest.fixture
def pytorch():
    try:
        return torch_programs.python()
    except ValueError as error:
        pytest.skip(str(error))


def test_a_missing_pytorch_is_said_in_a_line(here, monkeypatch):
    monkeypatch.setenv(torch_programs.VARIABLE, str(here / "nothing"))
    Path("m.pt2").write_bytes(b"")
    with pytest.raises(UserError, match=r"PyTorch is not installed \(.*nothing\): make torch brings it") as caught:
        press_program.settled(PressSettings(Path("m.pt2"), "first.npz", here / "scratch"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"there is no model none\.pt2"):
        press_program.settled(PressSettings(Path("none.pt2"), "first.npz", here / "scratch"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["first", "nhwc"])
def test_a_module_is_pressed_and_held_against_pytorch(here, litepress, pytorch, layout):
    data, options = ("last.npz", ["--layout", "nhwc"]) if layout == "nhwc" else ("first.npz", [])
    message = litepress("press", "--torch", "nets:network", "--data", data, *options, "--variants", "float32,int8",
                        "--targets", "litert,onnx,saved_model", "--json", "r.json", "--no-track")
    assert message.code == 0, message.out + message.err
    artifacts = json.loads(Path("r.json").read_text())["artifacts"]
    floats = [one["metrics"]["largest"] for one in artifacts if one["variant"] == "float32"]
    assert len(floats) == 3 and max(floats) < 1e-4
    again = litepress("press", "runs/.given/network.pt2", "--data", data, *options, "--variants", "float32",
                      "--targets", "litert", "--no-track")
    assert again.code == 0, again.out + again.err


@pytest.mark.slow
def test_what_pytorch_cannot_give_is_said_in_a_line(here, litepress, pytorch):
    for function, says in {"nets:number": "gives a int; it must give a torch.nn.Module",
                           "nets:none": "nets:none cannot be had: module 'nets' has no attribute 'none'",
                           "no_nets:network": "cannot be had: No module named 'no_nets'"}.items():
        message = litepress("press", "--torch", function, "--data", "first.npz", "--no-track")
        assert message.code == 2 and says in message.err and len(message.err.strip().splitlines()) == 1
    Path("m.pt2").write_bytes(b"nothing")
    message = litepress("press", "m.pt2", "--data", "first.npz", "--no-track")
    assert message.code == 2 and "m.pt2 cannot be read as a torch.export program" in message.err


@pytest.mark.slow
def test_open_sizes_are_refused_by_the_inputs_name(here, litepress, pytorch):
    subprocess.run([pytorch, "-c", OPEN], check=True, capture_output=True)
    for name, says in {
            "sizes": "takes input (batch, 3, any, any), whose axes 2 and 3 are open; files for phones have fixed sizes",
            "height": "takes input (batch, 3, any, 24), whose axis 2 is open; files for phones have fixed sizes",
            "two": "takes input (2, 3, 20, 24), which is not one example or any number of them; export it"}.items():
        message = litepress("press", f"{name}.pt2", "--data", "first.npz", "--no-track")
        assert message.code == 2 and f"press: {name}.pt2 {says}" in message.err
        assert len(message.err.strip().splitlines()) == 1
