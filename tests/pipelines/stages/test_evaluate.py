"""Evaluate: what is kept of a predictor's outputs, and where figures go."""
import types

import keras
import numpy as np
import pytest

from pipelines.engine.journal import Journal
from pipelines.errors import StageError
from pipelines.figures import figures
from pipelines.recipe.recipe import Recipe
from pipelines.reporting import report
from pipelines.reporting.tracking import UPLOADED
from pipelines.stages import asked, evaluate
from pipelines.stages.context import Context, reference
from pipelines.tasks.classes import ClassMeasure
from pipelines.tasks.task import Figure
from tests.pipelines.ingest.conftest import data_of
from tests.pipelines.stages.dense import EXAMPLES, Network, bright


def test_outputs_of_the_first_examples_are_kept(tmp_path):
    kept = asked.Kept(tmp_path / "reference", 5)
    values = np.arange(16.0).reshape(8, 2)
    for start in (0, 3, 6):
        kept.add({"values": values[start:start + 3]})
    np.testing.assert_array_equal(reference(tmp_path / ".")["values"], values[:5])


def test_outputs_whose_size_varies_are_refused(tmp_path):
    kept = asked.Kept(tmp_path / "reference", 5)
    kept.add({"tokens": np.zeros((2, 7))})
    with pytest.raises(StageError, match=r"evaluate: tokens is \(9,\) in one batch and \(7,\) in another; outputs "
                                         "whose size varies are not compared so far"):
        kept.add({"tokens": np.zeros((2, 9))})


def test_what_a_task_draws_does_not_meet_what_the_stage_draws(tmp_path, monkeypatch):
    def drawn(self, labels, predicted, scores, folder):
        figures.reliability(scores.max(axis=1), predicted == labels, folder / "worst.png")
        return [Figure(file="worst.png", caption="the task's own")]

    monkeypatch.setattr(ClassMeasure, "_draw", drawn)
    data = data_of("digits")
    for stage in ("ingest", "train", "evaluate", "compress", "verify"):
        (tmp_path / stage).mkdir()
    (tmp_path / "ingest" / "index.json").write_text(data.index.model_dump_json())
    image = keras.Input((8, 8, 1), name="image")
    keras.Model(image, keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(image))).save(
        tmp_path / "train" / "model.keras")
    recipe = Recipe.model_validate({"name": "x", "model": {"builder": "resnet8"},
                                    "data": {"source": "digits", "image": {"size": 8, "channels": 1}}})
    work = tmp_path / "evaluate"
    context = Context(recipe, work, {"ingest": tmp_path / "ingest", "train": tmp_path / "train"},
                      Journal(work / "journal.jsonl"))
    assert "accuracy" in evaluate.run(context)
    assert (work / "figures" / "worst.png").read_bytes() != (work / "worst.png").read_bytes()
    run = types.SimpleNamespace(path=lambda stage, name: tmp_path / stage / name)
    shown = report._figures(run, types.SimpleNamespace(artifacts=[]))
    assert set(shown) == {"worst", "evaluate/figures/worst"} and len(set(shown.values())) == 2
    assert {path.parent.name for path in work.glob(UPLOADED["evaluate"][0])} == {"evaluate", "figures"}


def test_the_first_examples_are_kept_over_batches_with_their_answers():
    first = asked.First(5)
    values = np.arange(9.0)
    for start in (0, 3, 6):
        first.add({"x": values[start:start + 3]}, {"y": -values[start:start + 3]})
    np.testing.assert_array_equal(first.inputs["x"], values[:5])
    np.testing.assert_array_equal(first.outputs["y"], -values[:5])
    assert first.seen == 9


def test_the_best_the_median_and_the_worst_are_asked_again(arrays):
    data = bright(arrays)
    network = Network()
    ranked = asked.Ranked(2)
    wrong = np.random.default_rng(0).permutation(EXAMPLES) / 100
    for start in (0, 8, 16):
        ranked.add({}, {}, {}, wrong[start:start + 8])
    shown = ranked.examples(data, network)
    assert [one.rank for one in shown] == ["best", "best", "median", "median", "worst", "worst"]
    np.testing.assert_allclose([one.wrong for one in shown], [0, 0.01, 0.09, 0.1, 0.18, 0.19], atol=1e-6)
    assert network.asked == 6
    for one in shown:
        inputs, targets = data.arrays("test", [one.position])
        np.testing.assert_array_equal(one.inputs["image"], inputs["image"])
        np.testing.assert_array_equal(one.targets["mask"], targets["mask"])
        np.testing.assert_array_equal(one.outputs["logits"], Network().predict(inputs)["logits"])


@pytest.mark.parametrize(("wrong", "expected"), [
    ([0.3], ["best 0"]), ([0.3, 0.1], ["best 1", "worst 0"]), ([0.3, 0.1, 0.2], ["best 1", "median 2", "worst 0"]),
    ([0.3, 0.1, 0.2, 0.0], ["best 3", "median 1", "worst 0"]),
    ([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], ["best 5", "best 4", "median 3", "median 2", "worst 1", "worst 0"]),
    ([0.1, np.nan, 0.2, np.nan, 0.3], ["best 0", "median 2", "worst 4"]), ([np.nan], ["best 0"])])
def test_the_best_of_few_is_the_best_and_what_was_not_measured_is_left_out(arrays, wrong, expected):
    ranked = asked.Ranked(2)
    ranked.add({}, {}, {}, np.array(wrong))
    shown = ranked.examples(bright(arrays), Network())
    assert [f"{one.rank} {one.position}" for one in shown] == expected
