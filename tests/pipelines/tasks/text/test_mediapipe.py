"""Classifiers of texts for MediaPipe: their files are measured as others are, and MediaPipe gives their answers."""
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from export.predictors import open_predictor
from export.tflite.metadata import Description
from pipelines.features.tokenizers.tokenizer import Tokenizer
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from pipelines.targets.target import ExportContext, Target
from pipelines.variants.record import VariantList
from tests.conftest import command
from tests.export.targets.test_mediapipe import needs_mediapipe
from tests.export.tflite.test_metadata import mediapipe
from tests.pipelines.tasks.text.conftest import RECIPE

WORD, BUILDER = "{word: {min_count: 1}}", "textcnn, embedding: 16, filters: 8, dropout: 0.2"
SCORES = """
import json, sys
from mediapipe.tasks.python import BaseOptions, text
base = BaseOptions(model_asset_path=sys.argv[1])
with text.TextClassifier.create_from_options(text.TextClassifierOptions(base)) as classifier:
    for one in json.load(open(sys.argv[2])):
        said = classifier.classify(one).classifications[0].categories
        print(json.dumps({category.category_name: category.score for category in said}))
"""


def read_data(folder, recipe):
    recipe = recipe_file.read(folder / recipe)
    index = Index.model_validate_json((folder / "runs" / recipe.name / "latest/ingest/index.json").read_bytes())
    return Data(recipe.data, recipe.task, index, recipe.seed)


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer", "message"), [
    (None, "does not cut texts as word does; give data.tokens.tokenizer: wordpiece"),
    ("regex", "opens the files of the target litert where the tokenizer is regex"),
    ({"wordpiece": {"lower": False}}, "makes small letters of capitals; leave out lower: false")])
def test_other_tokenizers_are_refused(moods, monkeypatch, tmp_path, tokenizer, message):
    monkeypatch.chdir(moods.folder)
    data = read_data(moods.folder, "recipe.yaml")
    if tokenizer is not None:
        cut = data.features["tokens"].model_copy(update={"tokenizer": Tokenizer.read(tokenizer)})
        data.features = {**data.features, "tokens": cut}
    variants = {one.name: one for one in VariantList.read(moods.run / "compress").variants}
    context = ExportContext(model=moods.run / "train/model.keras", variants=variants, files=moods.run / "compress",
                            about=Description(name="moods"), data=data, folder=tmp_path)
    with pytest.raises(ValueError, match=message):
        Target.read("mediapipe").export(context, ["float32"])


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.parametrize("builder", [None, "bert, depth: 1, units: 16, heads: 2, pooling: mean"])
def test_mediapipe_answers_as_our_predictor(moods, tmp_path, monkeypatch, builder):
    shutil.copy(moods.folder / "moods.csv", tmp_path)
    recipe = RECIPE.replace("moods\ntask", "pieces\ntask").replace(WORD, "{wordpiece: {most: 400}}")
    recipe = recipe.replace(BUILDER, builder or BUILDER)
    (tmp_path / "pieces.yaml").write_text(recipe.replace("[litert, saved_model]", "[litert, mediapipe]"))
    done = command("run", "pieces.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = {f"{one['target']} {one['variant']}": one["metrics"] for one in
                json.loads((tmp_path / "r.json").read_text())["artifacts"]}
    assert set(measured) == {f"{target} {variant}" for target in ("litert", "mediapipe")
                             for variant in ("float32", "int8")}
    monkeypatch.chdir(tmp_path)
    data, bundle = read_data(tmp_path, "pieces.yaml"), tmp_path / "runs/pieces/latest/package/bundle"
    texts = [row["review"] for row in _rows(tmp_path / "moods.csv", data.index.splits["test"].positions)]
    (tmp_path / "texts.json").write_text(json.dumps([*texts, "", "GREAT day :)"]))
    tokens = np.stack([data.features["tokens"].decode(tf.constant(text.encode()), data.index.learnt["tokens"]).numpy()
                       for text in [*texts, "", "GREAT day :)"]])
    for variant in ("float32", "int8"):
        assert measured[f"litert {variant}"] == measured[f"mediapipe {variant}"]
        logits = open_predictor(bundle / "litert" / f"{variant}.tflite").predict({"tokens": tokens})["logits"]
        said = [json.loads(line) for line in mediapipe(
            SCORES, bundle / "mediapipe" / f"{variant}.tflite", tmp_path / "texts.json").splitlines()]
        names = data.index.names("label")
        scores = np.array([[one[name] for name in names] for one in said])
        np.testing.assert_array_equal(scores.argmax(axis=1)[:len(texts)], logits.argmax(axis=1)[:len(texts)])
        order = np.argsort(logits[:, 1], kind="stable")
        assert (np.diff(scores[order, 1]) >= -1e-6).all()  # a score is its logit, calibrated
    model = {one["name"]: one for one in json.loads((bundle / "model.json").read_text())["models"]}
    taken = model["mediapipe_int8"]["inputs"]
    assert [(one["name"], one["shape"]) for one in taken] == [(name, [1, 26]) for name in ("ids", "mask",
                                                                                            "segment_ids")]
    assert "not used" in taken[1]["meaning"]


def _rows(path, positions):
    import csv
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [rows[position] for position in positions]
