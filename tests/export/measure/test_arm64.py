"""What runs on an emulated arm64 processor, run here: it needs Python, NumPy and LiteRT alone."""
import ast
import os
import sys

import numpy as np
import pytest

from export.measure import arm64
from export.predictors import LiteRTPredictor


def test_the_guest_imports_nothing_that_is_not_there():
    nodes = list(ast.walk(ast.parse(arm64.GUEST.read_text())))
    modules = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {module.partition(".")[0] for module in modules} == {"sys", "numpy", "ai_edge_litert"}


def test_named_inputs_go_in_and_named_outputs_come_back(converted, examples):
    inputs, models = examples(5, channels=1), [converted["float32"], converted["int8"], converted["both"]]
    result = arm64.run_guest([sys.executable], models, inputs, os.environ)
    assert list(result) == ["float32", "int8", "both"]
    for model in models:
        expected = LiteRTPredictor(model).predict(inputs)
        assert set(result[model.stem]) == set(expected) == {"logits", "hours"}
        for name, value in expected.items():
            np.testing.assert_allclose(result[model.stem][name], value, atol=1e-5)


def test_a_file_that_fails_there_says_why(tmp_path, examples):
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"LiteRT on arm64 ends with code 1: ValueError: The model is not a valid"):
        arm64.run_guest([sys.executable], [tmp_path / "broken.tflite"], examples(1), os.environ)


@pytest.mark.slow
@pytest.mark.skipif(bool(arm64.missing()), reason=arm64.missing() or "all there")
def test_an_emulated_processor_answers_alike(converted, examples):
    inputs = examples(3)
    result = arm64.ask([converted["float32"]], inputs)["float32"]
    for name, value in LiteRTPredictor(converted["float32"]).predict(inputs).items():
        np.testing.assert_allclose(result[name], value, rtol=1e-4, atol=1e-4)
