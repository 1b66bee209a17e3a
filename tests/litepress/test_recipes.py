"""Recipes as Python has them: the same as a file's, with the same errors."""
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from litepress import recipes
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from tests.conftest import TINY

DOCUMENT = YAML(typ="safe").load(TINY)


def message(recipe, **overrides) -> str:
    with pytest.raises(UserError) as caught:
        recipes.read(recipe, overrides)
    return str(caught.value)


def test_a_file_its_text_and_its_mapping_are_one_recipe(recipe_file_of):
    path = recipe_file_of()
    expected = recipe_file.read(path)
    assert recipes.read(path, {}) == recipes.read(str(path), {}) == (expected, str(path))
    assert recipes.read(TINY, {}) == recipes.read(DOCUMENT, {}) == (expected, "recipe")


def test_a_mapping_is_left_as_it_is_and_may_hold_paths_tuples_and_numpys_numbers():
    document = {**DOCUMENT, "seed": np.int64(3), "data": {
        "source": {"image_folder": Path("images")}, "image": {"size": (8, 8), "channels": 3}}}
    read, _ = recipes.read(document, {"train": {"epochs": np.int32(9)}})
    assert (read.seed, read.data.source.path, read.train.epochs) == (3, "images", 9)
    assert document["train"]["epochs"] == 4 and isinstance(document["data"]["source"]["image_folder"], Path)


@pytest.mark.parametrize(("overrides", "options"), [
    ({"train": {"epochs": 9}}, ["train.epochs=9"]),
    ({"train.epochs": 9}, ["train.epochs=9"]),
    ({"name": "other", "seed": 3}, ["name=other", "seed=3"]),
    ({"train": {"optimizer": {"adamw": {"weight_decay": 1e-05}}}}, ["train.optimizer={adamw: {weight_decay: 1e-05}}"]),
    ({"train.schedule.one_cycle.peak": 0.5}, ["train.schedule.one_cycle.peak=0.5"]),
    ({"compress": {"variants": ["int8", {"qat": 2}]}}, ["compress.variants=[int8, {qat: 2}]"]),
    ({"gates": {"int8.drop": "<= 0.5", "accuracy": "> 0.1"}}, ["gates.int8.drop=<= 0.5", "gates.accuracy=> 0.1"]),
    ({"gates.accuracy": ">= 0.5"}, ["gates.accuracy=>= 0.5"]),
    ({"task": {"image_classification": {}}}, ["task={image_classification: {}}"]),
    ({"data": {"augment": []}, "package": {"version": "2.0.0"}}, ["data.augment=[]", "package.version=2.0.0"])])
def test_keyword_arguments_are_what_set_has(overrides, options, recipe_file_of):
    path = recipe_file_of()
    changed, unchanged = recipe_file.read(path, options), recipe_file.read(path)
    assert recipes.read(path, overrides)[0] == changed
    assert (changed == unchanged) == ("task" in overrides)  # it is the default


def test_the_line_of_a_text_is_named_and_the_setting_of_a_mapping():
    assert message(TINY.replace("epochs:", "epoch:")) == (
        "recipe:11: train.epoch is not a setting. Did you mean train.epochs?")
    assert message({**DOCUMENT, "train": {"epoch": 4}}) == (
        "recipe: train.epoch is not a setting. Did you mean train.epochs?")
    assert message({"name": "x"}) == "recipe: data is missing\nrecipe: model is missing"


def test_mistakes_in_keyword_arguments_are_those_of_set(recipe_file_of):
    path = recipe_file_of()
    assert message(path, epochs=3).startswith(f"{path} with --set: epochs is not a setting.")
    assert message(path, train={"epochs": "many"}) == f'{path} with --set: train.epochs is "many"; give a whole number'
    assert message(path, gates={"accuracy": 0.5}).startswith(f"{path} with --set: gates.accuracy is '0.5'; give a "
                                                             "comparison and a number")
    assert message(path, train={"callbacks": {1, 2}}) == (
        "train.callbacks is a set; give what a recipe can write: numbers, text, lists and mappings")


def test_what_is_not_a_recipe_is_refused():
    assert message("recipes/vision/digit.yaml").startswith("recipes/vision/digit.yaml: no such recipe.")
    assert message(7) == "the recipe is 7; give a file's path, YAML text, or a mapping of settings"
    with pytest.raises(UserError, match="until: there is no stage training; give one of ingest, train, evaluate"):
        recipes.stage("until", "training")
