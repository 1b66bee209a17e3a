"""Recipes: what they say, and what they are told when they are wrong."""
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from tests.conftest import ROOT, TINY

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        recipe_file.read(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("epochs: 4", "epoch: 4", "11: train.epoch is not a setting. Did you mean train.epochs?"),
    ("verify:", "verfy:", "14: verfy is not a setting. Did you mean verify?"),
    ("builder: resnet8", "builder: resnet9", "8: model.builder: there is no builder called resnet9. Did you mean "
                                             "resnet8?"),
    ("width: 8", "widht: 8", "9: model.widht is not a setting. Did you mean model.width?"),
    ("width: 8", "width: wide", '9: model.width is "wide"; give a whole number'),
    ("size: 8", "size: 8px", '4: data.image.size is "8px"; give whole pixels, for instance 28 or [28, 28]'),
    ("channels: 3", "channels: 2", "4: data.image.channels is 2; allowed: 1 or 3"),
    ("source: digits", "source: digit", "3: data.source: there is no source called digit. Did you mean digits?"),
    ("source: digits", "source: {image_folder: {folder: x}}", "3: data.source.image_folder.folder is not a setting. "
                                                              "Known here: path."),
    ("  source: digits\n", "", "2: data.source is missing"),
    ("one_cycle: {peak: 0.02}", "one_cycl: 0.02", "12: train.schedule: there is no schedule called one_cycl. Did you "
                                                  "mean one_cycle?"),
    ("peak: 0.02", "peak: -1", "12: train.schedule.one_cycle.peak is -1; it must be more than 0.0"),
    ("peak: 0.02", "", "12: train.schedule.one_cycle.peak is missing"),
    ("rotate: 10", "rotate: 500", "5: data.augment.1.degrees is 500; it must be at most 180.0"),
    ("{rotate: 10}", "{rotate: 10, zoom: 1}", "5: data.augment.1 is {'rotate': 10, 'zoom': 1}; give a name, or one "
                                              "name with its settings"),
    ("batch: 64", "batch: 0", "6: data.batch is 0; it must be at least 1"),
    ("epochs: 4", "epochs: many", '11: train.epochs is "many"; give a whole number'),
    ("name: tiny", "name: Tiny!", '1: name is "Tiny!"; it must match ^[a-z0-9][a-z0-9_-]*$'),
    ("int8.drop", "int8.dorp", "17: gates.int8.dorp: no value of this run is called int8.dorp. Did you mean "
                               "int8.drop?"),
    ('"<= 0.02"', '"0.02"', "17: gates.int8.drop is '0.02'; give a comparison and a number"),
    ("verify: {runs: 20}", "compress: {variants: [int9]}", "14: compress.variants.0: there is no variant called int9. "
                                                           "Did you mean int8?"),
    ("verify: {runs: 20}", "compress: {variants: [int8, int8]}",
     "14: compress.variants: two variants are called int8; give one of them another name"),
    ("verify: {runs: 20}", "export: {targets: [tpu]}", "14: export.targets.0: there is no target called tpu. Did you "
                                                       "mean intel-npu?"),
    ("schedule: {one_cycle: {peak: 0.02}}", "optimizer: {sgd: {clip_norm: 1, clip_value: 1}}",
     "12: train.optimizer is {'clip_norm': 1, 'clip_value': 1}; give clip_norm or clip_value, not both"),
    ("{early_stopping: {patience: 3}}", "{reduce_on_plateau: 3}",
     "13: train.callbacks.0: reduce_on_plateau changes the rate itself; it goes with schedule: constant only"),
    ("{early_stopping: {patience: 3}}", "early_stopping, {early_stopping: 3}", "13: train.callbacks.1: early_stopping "
                                                                               "is given twice"),
    ("{early_stopping: {patience: 3}}", "ema, swa", "13: train.callbacks.1: ema and swa each ship their own average"),
    ("epochs: 4", "strategy: multi_worker\n  optimizer: lamb", "12: train.optimizer: lamb does not go with several "
                                                               "workers"),
    ("epochs: 4", "strategy: multi_worker\n  optimizer: {sgd: {accumulate: 2}}", "12: train.optimizer: accumulate does "
                                                                                 "not go with"),
    ("epochs: 4", "transfer: {rates: [1, 0]}", "11: train.transfer.rates is [1, 0]; give the last and the first "
                                               "layer's rates"),
    ("epochs: 4", "transfer: {unfreeze: {2: 3}}", "11: train.transfer.unfreeze is {2: 3}; give epochs from 0 on with "
                                                  "shares"),
    ("schedule: {one_cycle: {peak: 0.02}}", "schedule: {piecewise: {boundaries: [0.5], rates: [1]}}",
     "12: train.schedule is {'boundaries': [0.5], 'rates': [1]}; give one more rate than boundaries"),
    ("batch: 64", "batch: [64", "7: not valid YAML"),
    ("batch: 64", "batch: 64\n  batch: 32", '7: not valid YAML: found duplicate key "batch"'),
])
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(recipe_file_of, old, new, expected):
    path = recipe_file_of((old, new))
    said = message(path)
    assert said.startswith(f"{path}:{expected}")
    assert "\n" not in said


def test_every_mistake_is_named(recipe_file_of):
    lines = message(recipe_file_of(("epochs: 4", "epochs: 0"), ("batch: 64", "batch: x"))).splitlines()
    assert [line.split(": ")[1].split(" is ")[0] for line in lines] == ["data.batch", "train.epochs"]


@pytest.mark.parametrize(("override", "expected"), [
    ("train.optimiser=adam", "train.optimiser is not a setting. Did you mean train.optimizer?"),
    ("train.epochs", "--set train.epochs: write it as train.epochs=30"),
    ("train.epochs=0", "train.epochs is 0; it must be at least 1"),
    ("data.batch.size=3", "--set data.batch.size=3: data.batch has no settings of its own; it is 64"),
    ("gates.int8.dorp=<= 1", "no value of this run is called int8.dorp"),
])
def test_overrides_are_checked_like_the_file(recipe_file_of, override, expected):
    assert expected in message(recipe_file_of(), override)


def test_overrides_change_settings_of_entries_and_gates(recipe_file_of):
    recipe = recipe_file.read(recipe_file_of(),
                              ["train.schedule.one_cycle.peak=1e-3", "gates.int8.drop=<= 0.1", "train.optimizer=sgd",
                               "model.width=4", "data.labels=true"])
    assert recipe.train.schedule.peak == 1e-3
    assert recipe.gates["int8.drop"] == "<= 0.1"
    assert recipe.train.optimizer.entry_name == "sgd"
    assert recipe.model.settings["width"] == 4
    assert recipe.data.labels == "true"


def test_files_that_are_no_recipes_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "Did you mean recipes/vision/digits.yaml?" in message(Path("recipes/vision/digit.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "a recipe is a mapping of settings" in message(tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert "this is empty" in message(tmp_path / "empty.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff")
    assert "not a text file" in message(tmp_path / "picture.yaml")
    assert "Is a directory" in message(tmp_path)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_well_formed_and_point_to_the_schema(path):
    recipe = recipe_file.read(path)
    first = path.read_text().splitlines()[0]
    schema = (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve()
    assert schema == ROOT / "recipe.schema.json"
    assert recipe.gates, "a recipe that ships says what must hold"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_with_every_default_filled_in_means_the_same(path, tmp_path):
    recipe = recipe_file.read(path)
    filled = tmp_path / "filled.yaml"
    filled.write_text(recipe_file.write(recipe))
    assert recipe_file.read(filled) == recipe


def test_show_names_settings_that_the_file_leaves_out(recipe_file_of):
    shown = recipe_file.write(recipe_file.read(recipe_file_of()))
    for setting in ("seed: 7", "weight_decay: 0.01", "batch_norm_momentum: 0.9", "calibration: {examples: 200, "
                                                                                 "balanced: false}",
                    "max_unreadable: 0.01"):
        assert setting in shown


def test_reading_a_recipe_needs_no_tensorflow(tmp_path):
    import subprocess
    import sys

    (tmp_path / "r.yaml").write_text(TINY)
    code = ("import sys; from pathlib import Path; from pipelines.recipe import file as recipe_file; "
            "recipe_file.read(Path('r.yaml')); "
            "print([name for name in ('tensorflow', 'keras', 'mlflow', 'numpy') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          check=True).stdout == "[]\n"
