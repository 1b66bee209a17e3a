"""Package: the bundle that an app team receives."""
from __future__ import annotations

import shutil
from collections.abc import Mapping

from etils import epy

from export.artifacts import ExportedList
from export.delivery import bundle
from export.delivery.recommend import recommended
from export.delivery.samples import Sample, rows_of
from export.signature import Arrays
from pipelines.ingest.data import Data
from pipelines.reporting import model_card
from pipelines.reporting.verified import VerifiedList
from pipelines.stages.context import ANSWERS, Context
from pipelines.stages.export import description

with epy.lazy_imports():
    import numpy as np

#: How samples call the trained model, beside the artifacts.
KERAS = "keras"


def run(context: Context) -> str:
    recipe, data = context.recipe, context.data()
    exported = ExportedList.read(context.inputs["export"]).artifacts
    verified = VerifiedList.read(context.inputs["verify"]).artifacts
    folder = context.work / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    for old in context.work.glob("*.zip"):
        old.unlink()
    drops = {one.name: one.drop[recipe.task.main.name] for one in verified}
    unfit = [one.name for one in verified if not one.order_independent]
    bundle.write(
        folder, about=description(recipe, data.index), signature=recipe.task.signature(data.index), exported=exported,
        source=context.inputs["export"], samples=_samples(context, data),
        card=model_card.write(recipe, data.index, context.evaluation(), exported, verified),
        recommended=recommended(exported, drops, unfit), rollback=recipe.package.rollback,
        metrics={one.name: one.metrics for one in verified}, files=recipe.task.files(data))
    zipped = bundle.zip_up(folder, recipe.name)
    context.journal.metrics({"bytes.bundle": zipped.stat().st_size})
    context.journal.parameters({"bundle": zipped.name})
    return f"bundle {zipped.name} ({zipped.stat().st_size / 1e6:.1f} MB)"


def _samples(context: Context, data: Data) -> list[Sample]:
    """Return the golden samples that evaluate chose, with what every artifact answered."""
    positions = sorted(context.samples())
    inputs, targets = data.arrays("test", positions)
    answers = {KERAS: {name: values[positions] for name, values in context.reference().items()}, **_answers(context)}
    logits = {one.name for one in data.task.outputs(data.index) if one.role == "logits"}
    rows = {name: rows_of(values.shape[1:]) for name, values in answers[KERAS].items() if name in logits}
    samples = []
    for number in range(len(positions)):
        example = _one(inputs, number)
        outputs = {artifact: _one(values, number) for artifact, values in answers.items()}
        words = {artifact: _called(data, values) for artifact, values in outputs.items()}
        texts = _texts(data, {name: values[number:number + 1] for name, values in inputs.items()})
        samples.append(Sample(
            inputs=example, files=_files(data, example), targets=_in_words(data, _one(targets, number)),
            outputs=outputs, words=words, texts=texts, rows=rows))
    return samples


def _one(arrays: Arrays, number: int) -> dict[str, np.ndarray]:
    """Return one example, without the batch."""
    return {name: values[number] for name, values in arrays.items()}


def _answers(context: Context) -> dict[str, dict[str, np.ndarray]]:
    """Return what verify kept: artifact to output to its values on all samples."""
    answers: dict[str, dict[str, np.ndarray]] = {}
    with np.load(context.inputs["verify"] / ANSWERS) as file:
        for key in file.files:
            artifact, _, output = key.partition("/")
            answers.setdefault(artifact, {})[output] = file[key]
    return answers


def _files(data: Data, example: Arrays) -> dict[str, tuple[str, bytes]]:
    """Return the inputs of an example that go as files: name to ending and content."""
    encoded = {name: data.features[name].encode(value) for name, value in example.items()}
    return {name: file for name, file in encoded.items() if file is not None}


def _texts(data: Data, example: Arrays) -> dict[str, str]:
    """Return the inputs of a batch of one that a server is sent as text, where they are numbers here."""
    sent = data.sent(example)
    return {name: sent[name][0].decode() for name, values in example.items()
            if sent[name].dtype == object and values.dtype != object}


def _in_words(data: Data, targets: Arrays) -> dict[str, str]:
    """Return the targets of an example that can be said in a word or two."""
    words = {name: data.features[name].in_words(value, data.index.learnt[name]) for name, value in targets.items()}
    return {name: text for name, text in words.items() if text}


def _called(data: Data, outputs: Arrays) -> Mapping[str, str]:
    """Return what the task calls an artifact's answer to one example."""
    return data.task.expected({name: np.asarray(values)[None] for name, values in outputs.items()}, data.index)
