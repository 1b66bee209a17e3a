"""Verify: what a served model is asked, and by how much it may differ from the trained one."""
import numpy as np
import pytest

from pipelines.errors import StageError
from pipelines.recipe.recipe import Recipe
from pipelines.reporting.results import Results
from pipelines.reporting.tables import table
from pipelines.stages import asked, served, verify
from pipelines.stages.context import REFERENCE
from pipelines.tools.few_examples import few_examples
from tests.pipelines.stages.dense import EXAMPLES, SIDE, Network, bright
from tests.pipelines.tasks.image_generation.made import task_of

EXAMPLE = SIDE * SIDE * 2 * 4  # bytes of an example's outputs


@pytest.fixture
def data(arrays):
    return bright(arrays)


@pytest.fixture
def expected(data):
    inputs, _ = data.arrays("test", EXAMPLES)
    return Network().predict(inputs)


@pytest.fixture
def evaluated(tmp_path, expected):
    return written(tmp_path / "evaluate", expected)


def written(folder, outputs):
    """Return a folder with the trained model's outputs, as evaluate leaves it."""
    kept = asked.Kept(folder / REFERENCE, EXAMPLES)
    kept.add(outputs)
    return folder


def test_an_output_may_be_off_by_its_tolerance_of_its_largest_value(data, expected, evaluated):
    allowed = 1e-3 * np.abs(expected["logits"]).max()
    result = verify.serve_one(Network(0.9 * allowed), data, "grpc", evaluated)
    assert 1e-2 < result.max_error < allowed and result.metrics["pixels"] > 0.99 and result.examples is None
    with pytest.raises(StageError, match=r"served over REST, its outputs are off by 1\.\de-01, more than 1e-01"):
        verify.serve_one(Network(1.1 * allowed), data, "rest", evaluated)


def test_dense_outputs_are_asked_of_the_first_examples(data, expected, evaluated, monkeypatch, tmp_path):
    assert served.examples_over("rest", data) == served.examples_over("grpc", data) == EXAMPLES
    monkeypatch.setitem(served.OUTPUT_BYTES, "rest", 6 * EXAMPLE + 1)
    network = Network()
    result = verify.serve_one(network, data, "rest", evaluated)
    assert result.examples == network.asked == 6 and result.max_error == 0 and result.metrics["pixels"] > 0.99
    assert verify.serve_one(Network(), data, "grpc", evaluated).examples is None
    late = {"logits": np.concatenate([expected["logits"][:6], expected["logits"][6:] + 9])}
    assert verify.serve_one(Network(), data, "rest", written(tmp_path / "late", late)).max_error == 0


def test_answers_that_take_many_calls_are_asked_of_the_first_examples(data, monkeypatch):
    monkeypatch.setattr(type(data.task), "calls", 2001)
    assert served.examples_over("rest", data) == served.examples_over("grpc", data) == 3 < EXAMPLES
    monkeypatch.setattr(type(data.task), "calls", 9000)
    assert served.examples_over("grpc", data) == 1


def test_classifiers_are_always_asked_everything(monkeypatch):
    monkeypatch.setitem(served.OUTPUT_BYTES, "rest", 1)
    recipe = Recipe.model_validate({"name": "x", "data": {"source": "digits", "image": {"size": 8}},
                                    "model": {"builder": "resnet8"}})
    assert served.examples_over("rest", few_examples(recipe, 4)) == 4


def test_a_part_of_the_test_set_is_not_compared_with_the_reference_on_all():
    measured = {"metrics": {"accuracy": 0.75}, "max_error": 1e-6}
    artifact = {"name": "saved_model", "title": "SavedModel", "variant": "x", "summary": "",
                "target": "saved_model", "path": "x",
                "bytes": 1, "zipped": 1, "integer": False, "metrics": {"accuracy": 0.5}, "drop": {"accuracy": 0.0},
                "max_error": 0, "mean_error": 0, "agreement": 1, "compared": 9, "order_independent": True,
                "latency_ms": {"p50": 1, "p95": 1, "threads": 1, "runs": 1},
                "served": {"grpc": measured, "rest": {**measured, "examples": 3}}}
    results = Results.model_validate({"recipe": "x", "run_id": "x", "stages": [], "artifacts": [artifact],
                                      "reference": {"metrics": {"accuracy": 0.5}, "order_independent": True}})
    grpc, rest = table(results).splitlines()[-2:]
    assert grpc.split() == ["served,", "gRPC", "–", "–", "0.7500", "-0.2500", "1e-06", "–", "–"]
    assert rest.split() == ["served,", "REST", "–", "–", "–", "–", "1e-06", "–", "–"]


def test_calls_of_a_file_that_is_asked_step_by_step_are_counted():
    task, data = task_of("ddpm")  # 4 steps, with a class and without
    inputs, _ = data.arrays("test", 1)

    class Nothing:
        signatures = {"serving_default": task.signature(data.index)}

        def predict(self, inputs, signature="serving_default"):
            return {"denoised": np.zeros_like(inputs["noise"])}

    given = verify.Given(Nothing(), inputs)
    task.answer(given, inputs)
    assert given.others == 2 * 4
    task, data = task_of("dcgan")
    inputs, _ = data.arrays("test", 1)
    given = verify.Given(Nothing(), inputs)
    given.outputs = {"generated": np.zeros((1, 8, 8, 1))}
    task.answer(given, inputs)
    assert given.others == 0
