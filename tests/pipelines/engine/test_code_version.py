"""A stage's key follows what the recipe chose: new files re-run nothing, changed ones what uses them."""
import sys

import pytest

from pipelines import runner
from pipelines.engine import code_version, display
from pipelines.recipe import file as recipe_file
from pipelines.stages import STAGES

BUILDER = '''"""A builder that nobody asked for."""
from models.registry import register


@register("unrelated_{number}", paper="none")
def unrelated(input_shape, classes):
    """Nothing."""
'''
AUGMENTATION = '''"""An augmentation that nobody asked for."""
from pipelines.ingest.augmentation.augment import Augmentation


class Unrelated(Augmentation, name="unrelated_augmentation"):
    """Nothing."""
'''
TASK = '''"""A task that nobody asked for."""
from pipelines.tasks.task import Task


class Unrelated(Task, name="unrelated_task"):
    """Nothing."""

    inputs, targets, metrics = {}, {}, ()
'''


@pytest.fixture
def keys(recipe_file_of, tmp_path):
    """The code's part of every stage's key, as a new process would compute it."""
    from rich.console import Console

    def forget() -> None:
        code_version._version.cache_clear()
        code_version._look.cache_clear()

    def compute() -> dict[str, object]:
        forget()
        running = runner.Runner(recipe_file.read(recipe_file_of()), "recipe.yaml", runner.Options(tmp_path / "runs"),
                                display.Display(Console()))
        return {stage.name: running.code_of(stage) for stage in STAGES}

    yield compute
    forget()


@pytest.fixture
def project_file():
    """Writes a module into the project, imports it, and registers it where the package gathers its modules; gone after
    the test."""
    written, changed = [], {}

    def write(module: str, content: str) -> None:
        path = code_version.ROOT.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(content)
        written.append((module, path))
        gatherer = path.with_name("__init__.py")
        changed.setdefault(gatherer, gatherer.read_text())
        gatherer.write_text(changed[gatherer] + f"import {module}  # noqa\n")
        __import__(module)

    yield write
    for module, path in written:
        path.unlink()
        sys.modules.pop(module, None)
    for path, content in changed.items():
        path.write_text(content)
    import models
    from pipelines.ingest.augmentation.augment import Augmentation
    from pipelines.tasks.task import Task

    models.registry._builders.pop("unrelated_1", None)
    Augmentation.choices.pop("unrelated_augmentation", None)
    Task.choices.pop("unrelated_task", None)


def test_a_new_builder_augmentation_or_task_re_runs_no_stage(keys, project_file):
    before = keys()
    project_file("models.unrelated", BUILDER.format(number=1))
    project_file("pipelines.ingest.augmentation.unrelated", AUGMENTATION)
    project_file("pipelines.tasks.unrelated", TASK)
    assert keys() == before


@pytest.mark.parametrize(("module", "stages"), [
    ("models.resnet", {"train", "export", "package"}),  # its summary is in the files
    ("models.vgg", set()), ("models.hub", set()),
    ("pipelines.tasks.image_classification", {stage.name for stage in STAGES}),
    ("pipelines.features.image", {stage.name for stage in STAGES}),
    ("pipelines.ingest.sources.image_folder", set()),
    ("pipelines.training.losses", {stage.name for stage in STAGES}),  # a task has an objective
    ("pipelines.stages.verify", {"verify"}),
    ("pipelines.reporting.verified", {"verify", "package"}),
    ("pipelines.variants.record", {"compress", "export", "package"}),
    ("export.artifacts", {"export", "verify", "package"}),
    ("export.measure.compare", {"evaluate", "verify", "package"}),
])
def test_a_changed_file_re_runs_the_stages_that_use_it(keys, module, stages):
    before = keys()
    path = code_version.ROOT.joinpath(*module.split(".")).with_suffix(".py")
    content = path.read_text()
    try:
        path.write_text(content + "\n# changed\n")
        after = keys()
    finally:
        path.write_text(content)
    assert {name for name in after if after[name] != before[name]} == stages
