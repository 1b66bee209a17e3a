"""The model card: what a model is, how good, and where its limits are (Mitchell et al. 2019, "Model Cards for Model Reporting")."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import models
from export.artifacts import Exported
from pipelines.ingest.sources.source import Index
from pipelines.recipe.recipe import Recipe
from pipelines.stages.verify import Verified
from pipelines.tasks.image_classification import Evaluation


def write(recipe: Recipe, index: Index, evaluation: Evaluation, exported: Sequence[Exported], verified: Sequence[Verified]) -> str:
    """The card as Markdown. It holds nothing that differs from one run of the same recipe to the next."""
    metrics, given = evaluation.metrics, recipe.model.given
    if given is None:
        builder = models.builder(recipe.model.builder)
        what, origin, unseen = builder.summary, f"Architecture: `{builder.name}` ({builder.paper}).", (
            ", which neither training nor the choice of the weights has seen,")
    else:
        what, origin, unseen = "A model that was made elsewhere.", f"Pressed from `{Path(given.path).name}`.", ""
    truth = "" if recipe.data.labels == "true" else (
        "\nThe data have no labels: the true class of a picture is what the given model answers, so accuracy is the share of pictures on\n"
        "which a file answers as that model does.\n")
    worth = {one.name: one for one in verified}
    rows = "\n".join(
        f"| {one.title} | {one.bytes:,} | {worth[one.name].metrics['accuracy']:.4f} | {worth[one.name].drop['accuracy']:.4f} | "
        f"{worth[one.name].max_logit_error:.0e} | {worth[one.name].top1_agreement:.4f} | "
        f"{one.summary} |" for one in exported if one.name in worth)
    compiled = "".join(f"\n- `{one.path}`: {one.summary}{f', {one.coverage} on it' if one.coverage else ''}."
                       for one in exported if one.name not in worth)
    compiled = f"\n\nNot measured, as they run on other hardware alone:\n{compiled}" if compiled else ""
    splits = "\n".join(f"| {name} | {split.examples:,} |" for name, split in index.splits.items())
    weakest = sorted(evaluation.classes, key=lambda one: one.f1)[:3]
    return f"""# {recipe.name}
{what} It tells {len(index.classes)} classes apart in pictures of {index.shape[0]} x {index.shape[1]} pixels,
{'RGB' if index.shape[2] == 3 else 'grey'}. It takes raw pixels 0..255 and gives one logit per class; their softmax are probabilities.

{origin}

## How good it is{truth}
On {index.splits['test'].examples:,} held-out test examples{unseen} the trained
model has an accuracy of {metrics['accuracy']:.4f}, the true class among the best three at {metrics['top3']:.4f}, a macro F1 of
{metrics['macro_f1']:.4f} and an expected calibration error of {metrics['calibration_error']:.4f}.
Every file that runs on a computer was measured on all of them:

| file | bytes | accuracy | drop | largest logit difference | same best class | what it is |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
{rows}{compiled}

## Data
Source `{index.source}`, digest `{index.digest[:16]}`, {len(index.unreadable)} unreadable pictures left out. Seed {recipe.seed}.

| split | examples |
| --- | ---: |
{splits}

Classes: {', '.join(index.classes)}.

## Limits
- Weakest classes (F1): {', '.join(f'{one.name} {one.f1:.3f}' for one in weakest)}.
- It always answers one of its classes, whatever the picture shows: other pictures than those it was trained on need a check of
  their own, for instance a threshold on the probability.
- The figures hold for data like the test set's. Pictures from another camera, light or population must be measured first.

## Use
Check the files with `sha256sum --check SHA256SUMS`. `model.json` describes every input and output. `samples/` holds test pictures with the
answers that each file must give; feed them to your app before you ship it.
"""
