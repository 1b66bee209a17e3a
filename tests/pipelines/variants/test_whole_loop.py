"""A diffusion model whose sampler is in the file: the pictures of the loop outside, of the same noise."""
import numpy as np
import pytest

from export.conversion import convert
from export.keras_models import file as keras_file
from export.predictors import LiteRTPredictor, open_predictor
from export.tflite import file as tflite_file
from pipelines.engine.journal import Journal
from pipelines.tasks.image_generation.task import ImageGeneration
from pipelines.training.section import TrainSection
from pipelines.variants.variant import Calibration, Variant, VariantContext, device_functions
from pipelines.variants.whole_loop import WholeLoop
from tests.pipelines.tasks.image_generation.made import model_of, task_of

HOW = {"sampled": 4, "guidance": 2, "sampler": "dpm_solver"}


def context_of(builder, folder, **changes):
    task, data = task_of(builder, **changes)
    model = model_of(builder, task, data)
    keras_file.save(model, folder / "model.keras")
    convert.float_graph(model, device_functions(data), folder / "graph")
    (folder / "work").mkdir()
    return VariantContext(
        data=data, train=TrainSection(), model=folder / "model.keras", graph=folder / "graph", folder=folder / "work",
        calibration_section=Calibration(examples=10), journal=Journal(folder / "journal.jsonl"))


@pytest.mark.parametrize(("encode", "changes"), [
    ("float32", HOW), *(pytest.param(*one, marks=pytest.mark.slow) for one in (
        ("float16", HOW), ("dynamic", HOW), ("float32", HOW | {"guidance": 1, "target": "noise", "sampler": "ddim"}),
        ("float32", HOW | {"target": "image"})))])
def test_a_file_makes_the_pictures_of_the_loop_outside(encode, changes, tmp_path):
    context = context_of("ddpm", tmp_path, diffusion=changes)
    variant = WholeLoop(encode=encode)
    record = variant.make(context, tmp_path / "whole.tflite")
    assert record.encoding == encode and record.details["whole_loop"]["off"] <= 1
    whole = open_predictor(tmp_path / "whole.tflite")
    (signature,) = whole.signatures.values()
    assert {one.name for one in signature.inputs} == {"noise", "condition"}
    assert [one.name for one in signature.outputs] == ["generated"]
    operators = tflite_file.operators((tmp_path / "whole.tflite").read_bytes())
    assert operators["WHILE"] == 1 and not any("FLEX" in one.upper() for one in operators)
    inputs, _ = context.data.arrays("test", 2)
    answers = context.data.task.answer(whole, inputs)
    assert "denoised" not in answers
    step = tmp_path / "step.tflite"
    step.write_bytes(convert.convert(context.graph, encode))
    expected = context.data.task.answer(LiteRTPredictor(step), inputs)["generated"]
    assert np.abs(answers["generated"] - expected).max() <= 1 and expected.std() > 5
    assert record.bytes < 1.5 * step.stat().st_size, "the network is in the file once"


def test_its_steps_and_its_guidance_are_fixed(tmp_path):
    task, data = task_of("ddpm")

    class Loop:
        signatures = {"generate": None}

    changed = task.sampled_by(steps=2, guidance=None)
    with pytest.raises(ValueError, match=r"its steps and its guidance are in the file, .*; leave --steps, --guidance"):
        changed.answer(Loop(), data.arrays("test", 1)[0])


def test_pictures_are_compared_where_a_file_gives_nothing_else():
    task, data = task_of("ddpm")
    assert isinstance(task, ImageGeneration)
    assert [one.name for one in task.compared(data.index, ["denoised", "generated"]).tensors] == ["denoised"]
    assert [one.name for one in task.compared(data.index, ["generated"]).tensors] == ["generated"]


@pytest.mark.slow
def test_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="whole_loop is for diffusion models, whose pictures are made step by step"):
        Variant.read("whole_loop").content(context_of("vae", tmp_path))
