"""The variant with buckets of length: the same answers, and less time for short texts."""
import json
import re

import pytest

from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.variants.variant import Variant
from tests.conftest import command
from tests.pipelines.tasks.text.conftest import RECIPE, write_moods

BERT = RECIPE.replace("textcnn, embedding: 16, filters: 8, dropout: 0.2",
                      "bert, depth: 1, units: 16, heads: 2, pooling: mean")
SHORT = "[float32, {buckets: [8, 12]}, {buckets: {name: small, lengths: [12], encode: int8}}]"


@pytest.mark.parametrize(("written", "expected"), [
    ("{buckets: [8, 8]}", "must be different lengths"), ("{buckets: []}", "at least 1"),
    ("{buckets: [0]}", "at least 1"), ("{buckets: {lengths: [8], encode: int3}}", "allowed: 'float32'")])
def test_a_mistake_in_the_lengths_is_named(written, expected, tmp_path):
    (tmp_path / "recipe.yaml").write_text(BERT.replace("[float32, int8]", f"[{written}]"))
    with pytest.raises(UserError, match=expected):
        recipe_file.read(tmp_path / "recipe.yaml")


def test_lengths_are_in_order():
    one = Variant.read({"buckets": [32, 8]})
    assert one.lengths == (8, 32) and one.encoding == "float32" and "up to 8 and 32 tokens" in one.summary


@pytest.mark.slow
def test_a_classifier_is_measured_and_timed_with_buckets(tmp_path):
    write_moods(tmp_path / "moods.csv")
    recipe = BERT.replace("[float32, int8]", SHORT).replace("[litert, saved_model]", "[litert]")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("int8.drop", "small.drop").replace(
        "length: 24", "length: 96").replace("epochs: 8", "epochs: 2"))
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    artifacts = {one["variant"]: one for one in json.loads((tmp_path / "r.json").read_text())["artifacts"]}
    assert artifacts["buckets"]["metrics"] == artifacts["float32"]["metrics"]
    assert artifacts["buckets"]["max_error"] < 1e-4
    files = tmp_path / "runs" / "moods" / "latest" / "export" / "litert"
    done = command("benchmark", files / "buckets.tflite", files / "small.tflite", "--json", "b.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    times = {one["name"].removeprefix(str(files)): one["p50"]
             for one in json.loads((tmp_path / "b.json").read_text())["artifacts"]}
    assert list(times) == ["/buckets.tflite up_to_8", "/buckets.tflite up_to_12", "/buckets.tflite",
                           "/small.tflite up_to_12", "/small.tflite"]
    assert times["/buckets.tflite up_to_8"] < times["/buckets.tflite"] / 2
    assert times["/small.tflite up_to_12"] < times["/small.tflite"] / 2


@pytest.mark.slow
@pytest.mark.parametrize(("model", "lengths", "expected"), [
    ("textcnn, embedding: 4, filters: 4", "[8]", "answers otherwise where a text has less padding|cannot be shortened"),
    ("bert, depth: 1, units: 8, heads: 2", "[24]", "shorter texts than the longest, 24 tokens")])
def test_what_does_not_read_so_is_refused(tmp_path, model, lengths, expected):
    write_moods(tmp_path / "moods.csv", 60)
    recipe = RECIPE.replace("textcnn, embedding: 16, filters: 8, dropout: 0.2", model).replace(
        "[float32, int8]", f"[{{buckets: {lengths}}}]").replace("epochs: 8", "epochs: 1")
    (tmp_path / "recipe.yaml").write_text(recipe[:recipe.index("gates")].replace("[litert, saved_model]", "[litert]"))
    done = command("run", "recipe.yaml", "--no-track", cwd=tmp_path)
    assert done.returncode and re.search(expected, done.stderr), done.stdout + done.stderr
