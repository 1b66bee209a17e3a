"""Package: the bundle that an app team receives."""
from __future__ import annotations

import shutil

from etils import epy

from export.artifacts import ExportedList
from export.delivery import bundle
from export.delivery.recommend import recommended
from pipelines.ingest import stream
from pipelines.ingest.sources.source import select
from pipelines.reporting import model_card
from pipelines.stages.context import Context
from pipelines.stages.evaluate import REFERENCE
from pipelines.stages.export import LISTING, description
from pipelines.stages.verify import LOGITS_FILE, VerifiedList
from pipelines.tasks.image_classification import MAIN_METRIC, Evaluation

with epy.lazy_imports():
    import numpy as np

#: Golden samples in a bundle, at most; of different classes as far as there are.
SAMPLES = 10


def run(context: Context) -> str:
    index, recipe, inputs = context.index(), context.recipe, context.inputs
    exported = ExportedList.model_validate_json((inputs["export"] / LISTING).read_bytes()).artifacts
    verified = VerifiedList.model_validate_json((inputs["verify"] / "verified.json").read_bytes()).artifacts
    evaluation = Evaluation.model_validate_json((inputs["evaluate"] / "evaluation.json").read_bytes())
    folder = context.work / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    for old in context.work.glob("*.zip"):
        old.unlink()
    drops = {one.name: one.drop[MAIN_METRIC] for one in verified}
    unfit = [one.name for one in verified if not one.order_independent]
    bundle.write(folder, about=description(recipe, index.classes), exported=exported, source=inputs["export"], samples=_samples(context),
                 card=model_card.write(recipe, index, evaluation, exported, verified), rollback=recipe.package.rollback,
                 recommended=recommended(exported, drops, unfit))
    zipped = bundle.zip_up(folder, recipe.name)
    context.journal.metrics({"bytes.bundle": zipped.stat().st_size})
    context.journal.parameters({"bundle": zipped.name})
    return f"bundle {zipped.name} ({zipped.stat().st_size / 1e6:.1f} MB)"


def _samples(context: Context) -> list[bundle.Sample]:
    reference, answered = np.load(context.inputs["evaluate"] / REFERENCE), np.load(context.inputs["verify"] / LOGITS_FILE)
    labels = reference["labels"]
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    chosen = sorted(firsts)[:SAMPLES]
    recipe = context.recipe
    images, _ = stream.arrays(select(stream.examples(recipe.data.source, context.index(), recipe.data.image, "test"), chosen))
    return [bundle.Sample(image, int(labels[place]), {
        "keras": reference["logits"][place], **{name: answered[name][place] for name in answered.files}})
        for image, place in zip(images, chosen, strict=True)]
