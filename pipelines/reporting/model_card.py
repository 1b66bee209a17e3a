"""The model card: what a model is, how good, and where its limits are (Mitchell et al. 2019, "Model Cards for Model
Reporting")."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etils import epy

import models
from export.artifacts import Exported
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.verified import Verified
from pipelines.tasks.task import Evaluation

with epy.lazy_imports():
    import jinja2


def write(recipe: Recipe, index: Index, evaluation: Evaluation, exported: Sequence[Exported],
          verified: Sequence[Verified]) -> str:
    """Return the card as Markdown. It holds nothing that differs from one run of the same recipe to the next."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True)
    template = environment.from_string(Path(__file__).with_name("model_card.md.j2").read_text())
    measured = {one.name: one for one in verified}
    builder = models.builder(recipe.model.builder) if recipe.model.imported is None else None
    source, package = recipe.data.source, recipe.package
    # the classes of a task without labels are who was learnt from, and nothing that it answers
    named = index.targets if recipe.task.labels(index) else ()
    names = {name: index.names(name) for name in named if index.names(name)}
    return template.render(
        recipe=recipe, index=index, evaluation=evaluation, task=recipe.task, builder=builder, measured=measured,
        names=names, group=recipe.data.group or source.grouped_by,
        medical=source.medical if package.medical is None else package.medical,
        pressed=Path(recipe.model.imported.path).name if recipe.model.imported else "",
        outputs=recipe.task.outputs(index),
        sentence=recipe.task.sentence(index, evaluation), here=[one for one in exported if one.name in measured],
        elsewhere=[one for one in exported if one.name not in measured])
