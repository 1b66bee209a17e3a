"""The schema that editors check recipes by: it takes what reading takes, short forms too, and not what that refuses."""
import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

import models
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.recipe import json_schema
from tests.conftest import ROOT

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
NO_GATES = ('gates:\n  accuracy: ">= 0.8"\n  int8.drop: "<= 0.02"', "gates: {}")
SEGMENTED = [("name: tiny", "name: tiny\ntask: {semantic_segmentation: {distances: true}}"),
             ("resnet8\n  width: 8", "unet"), NO_GATES]
GENERATED = [("name: tiny", "name: tiny\ntask: {image_generation: {judge: inception}}"),
             ("resnet8\n  width: 8", "vae"), ("[{shift: 0.1}, {rotate: 10}]", "[]"), NO_GATES]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((ROOT / "recipe.schema.json").read_text()))


@pytest.fixture(scope="module")
def generated() -> str:
    return json_schema.text()


def mistakes(validator, path: Path) -> list[str]:
    document = YAML(typ="safe", pure=True).load(path.read_text())
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_right_in_an_editor(validator, path):
    assert mistakes(validator, path) == []


@pytest.mark.parametrize("changes", [
    [],
    [("size: 8", "size: [8, 6]")],
    [("source: digits", "source: tfds:mnist")],
    [("source: digits", "source: {nifti: {path: x, spacing: 1.5}}")],
    [("source: digits", "source: {nifti: {path: x, spacing: [3, 1, 1]}}")],
    [("source: digits", "source: {tfrecord: {train: x, classes: 10}}")],
    [("source: digits", "source: {tfrecord: {train: x, classes: [cat, 2]}}")],
    [("batch: 64", "batch: 64\n  labels: true")],
    [("batch: 64", "batch: 64\n  labels: model")],
    [("verify: {runs: 20}", "compress: {calibration: 50, variants: [{int8: {calibration: 60}}]}")],
    [("verify: {runs: 20}", "compress: {calibration: {examples: 50, balanced: true}}")],
    [*SEGMENTED, ("distances: true", "distances: true, spacing: 0.7")],
    [*SEGMENTED, ("distances: true", "distances: true, spacing: [1, 0.7]")],
    [*SEGMENTED, ("batch: 64", "mask: {size: 8}")],
    GENERATED,
    [*GENERATED, ("judge: inception", "judge: {of: inception}")],
], ids=str)
def test_what_reading_takes_is_right_in_an_editor(validator, recipe_file_of, changes):
    path = recipe_file_of(*changes)
    recipe_file.read(path)
    assert mistakes(validator, path) == []


@pytest.mark.parametrize("changes", [
    [("epochs: 4", "epoch: 4")],
    [("epochs: 4", "epochs: many")],
    [("builder: resnet8", "builder: resnet9")],
    [("width: 8", "widht: 8")],
    [("size: 8", "size: 8px")],
    [("size: 8", "size: 0")],
    [("size: 8", "size: true")],
    [("size: 8", "size: [8, 8, 8]")],
    [("size: 8", "size: {height: 8}")],
    [("image: {size: 8, channels: 3}", "image: 8")],
    [("source: digits", "source: digit")],
    [("source: digits", "source: 'tfds:'")],
    [("source: digits", "source: {tfrecord: {train: x, classes: 1}}")],
    [("source: digits", "source: {tfrecord: {train: x, classes: cat}}")],
    [("source: digits", "source: {nifti: {path: x, spacing: 0}}")],
    [("source: digits", "source: {nifti: {path: x, spacing: [1, 1]}}")],
    [("source: digits", "source: {series_table: {path: x, columns: 3}}")],
    [("source: digits", "source: {series_table: {path: x, calendar: day}}")],
    [("batch: 64", "batch: 64\n  labels: false")],
    [("verify: {runs: 20}", "compress: {calibration: 0}")],
    [("verify: {runs: 20}", "compress: {calibration: many}")],
    [("verify: {runs: 20}", "compress: {calibration: true}")],
    [("verify: {runs: 20}", "compress: {calibration: [200]}")],
    [("verify: {runs: 20}", "compress: {calibration: {example: 200}}")],
    [("verify: {runs: 20}", "compress: {variants: [{int8: {calibration: many}}]}")],
    [*SEGMENTED, ("distances: true", "distances: true, spacing: 0")],
    [*SEGMENTED, ("distances: true", "distances: true, spacing: wide")],
    [*SEGMENTED, ("batch: 64", "mask: {size: wide}")],
    [*GENERATED, ("judge: inception", "judge: 3")],
    [*GENERATED, ("judge: inception", "judge: {off: inception}")],
], ids=str)
def test_what_reading_refuses_is_wrong_in_an_editor(validator, recipe_file_of, changes):
    path = recipe_file_of(*changes)
    with pytest.raises(UserError):
        recipe_file.read(path)
    assert mistakes(validator, path)


def test_the_shipped_schema_is_the_codes(generated):
    assert (ROOT / "recipe.schema.json").read_text() == generated, "run make schema"


def test_the_schema_names_entries_and_builders(generated):
    schema = json.loads(generated)
    assert schema["additionalProperties"] is False
    train = schema["$defs"]["TrainSection"]["properties"]
    names, mapping = train["schedule"]["anyOf"]
    assert "cosine" in names["enum"]
    assert "one_cycle" not in names["enum"], "it needs its peak, so it is no mere name"
    assert mapping["properties"]["one_cycle"]["anyOf"][0]["exclusiveMinimum"] == 0
    model = schema["properties"]["model"]
    builders = model.get("anyOf") or schema["$defs"]["ModelSection"]["anyOf"]
    assert {choice["properties"]["builder"]["const"] for choice in builders} == {
        "file", *(builder.name for builder in models.builders())}
