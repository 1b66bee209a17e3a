"""The parts of a recipe that stages depend on."""
from pathlib import Path

import pytest

from pipelines.recipe import file
from pipelines.stages import STAGES

RECIPE = Path(__file__).parents[3] / "recipes" / "generative" / "ddpm.yaml"
SETTING = "task.image_generation"


def changed(*settings: str) -> list[str]:
    """Return the stages that depend on settings of a diffusion model which are changed."""
    before = file.read(RECIPE)
    after = file.read(RECIPE, [f"{SETTING}.{setting}" for setting in settings])
    return [stage.name for stage in STAGES
            if stage.part_of(before, before.written()) != stage.part_of(after, after.written())]


@pytest.mark.parametrize("setting", [
    "diffusion.guidance=3", "diffusion.sampled=5", "diffusion.sampler=ddim", "judge=runs/others/latest"])
def test_how_a_trained_model_is_asked_and_judged_trains_nothing_again(setting):
    stages = changed(setting)
    assert "ingest" not in stages and "train" not in stages
    assert {"evaluate", "compress", "export", "verify", "package"} == set(stages)


def test_what_is_learnt_is_trained_again():
    assert "train" in changed("diffusion.schedule=linear")
    assert changed() == []
