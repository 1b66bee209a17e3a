"""What recipes take over from models that were trained before: the encoder by the names of its layers, and the
vocabulary that goes with it."""
import hashlib
import json
import re

import keras
import numpy as np
import pytest
from rich.console import Console

import models
from export.keras_models import file as keras_file
from models import encoders
from pipelines.engine.display import Display
from pipelines.errors import UserError
from pipelines.features.text import Text
from pipelines.features.tokenizers.mask import MASK
from pipelines.features.tokenizers.pretrained import Pretrained
from pipelines.features.tokenizers.tokenizer import START, UNKNOWN
from pipelines.ingest.index import Index, Split
from pipelines.pretrained import Trained, settled
from pipelines.recipe import file as recipe_file
from pipelines.recipe.recipe import Recipe
from pipelines.runner import Options, Runner
from tests.conftest import ROOT

SETTINGS = {"depth": 2, "units": 16, "heads": 4}
NAMES = ["<PAD>", "<UNKNOWN>", "<START>", "<END>", "<MASK>", "good", "bad", "##ly"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A model that guesses hidden tokens, and its file."""
    keras.utils.set_random_seed(3)
    model = models.build("bert_mlm", length=12, guesses=2, vocabulary=30, **SETTINGS)
    path = tmp_path_factory.mktemp("pretrained") / "model.keras"
    keras_file.save(model, path)
    return model, path


def classifier(**changes):
    return models.build("bert", **{"length": 8, "vocabulary": 30, "classes": 2, **SETTINGS, **changes})


def test_an_encoder_is_taken_over_by_the_names_of_its_layers(pretrained):
    source, path = pretrained
    model = classifier()
    before = {name: np.array(model.get_layer(name).kernel) for name in ("pooler", "logits")}
    loaded = encoders.load(model, path)
    assert "pooler" not in loaded and len(loaded) == len([layer for layer in model.layers if layer.weights]) - 2
    for name in loaded:
        for mine, other in zip(model.get_layer(name).weights, source.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(mine, np.asarray(other)[:mine.shape[0]])
    for name, kernel in before.items():
        np.testing.assert_array_equal(model.get_layer(name).kernel, kernel)
    tokens = np.array([[2, 9, 4, 7, 3, 0, 0, 0]], "int32")
    name = "block_1_feed_forward_norm"
    ours = keras.Model(model.input, model.get_layer(name).output)(tokens)
    theirs = keras.Model(source.input, source.get_layer(name).output)(
        {"tokens": np.pad(tokens, ((0, 0), (0, 4))), "places": np.zeros((1, 2), "int32")})
    np.testing.assert_allclose(ours[:, :5], theirs[:, :5], atol=1e-5)


@pytest.mark.parametrize(("changes", "said"), [
    ({"vocabulary": 31}, "embedding has weights .30, 16., this model's .31, 16.; give the same vocabulary"),
    ({"units": 32}, "another architecture"), ({"depth": 1}, "it has a layer block_1_.*; give the same depth"),
    ({"depth": 3}, "it has no layer block_2"), ({"heads": 2}, "it has heads: 4, this model 2"),
    ({"length": 13}, "positions has weights .12, 16., this model's .13, 16.; give the same length")])
def test_an_encoder_of_another_architecture_is_refused(pretrained, changes, said):
    with pytest.raises(ValueError, match=said):
        encoders.load(classifier(**changes), pretrained[1])


def test_a_tagger_takes_the_same_encoder(pretrained):
    model = models.build("bert_tagger", length=8, vocabulary=30, classes=5, **SETTINGS)
    assert "block_1_feed_forward_output" in encoders.load(model, pretrained[1])


def test_what_marks_answers_takes_the_same_encoder(pretrained):
    model = models.build("bert_qa", length=8, vocabulary=30, **SETTINGS)
    before = np.array(model.get_layer("scores").kernel)
    assert {"embedding", "positions", "segments", "block_1_feed_forward_output"} <= set(
        encoders.load(model, pretrained[1]))
    np.testing.assert_array_equal(model.get_layer("scores").kernel, before)
    ours, theirs = (one.get_layer("segments").embeddings for one in (model, pretrained[0]))
    np.testing.assert_array_equal(ours, theirs)


RECIPE = {"name": "tuned", "task": "text_classification",
          "data": {"source": "vader", "tokens": {"tokenizer": {"pretrained": "first.yaml"}, "ends": True}},
          "model": {"builder": "bert", "weights": {"pretrained": "first.yaml"}}}
FIRST = {"name": "first", "task": "masked_language_model",
         "data": {"source": "bible", "tokens": {"tokenizer": {"wordpiece": {"most": 10, "lower": False}}}},
         "model": {"builder": "bert_mlm"}}


def trained(folder, names=NAMES):
    """Write what the stages of the first recipe leave."""
    for stage in ("ingest", "train"):
        (folder / stage).mkdir(parents=True, exist_ok=True)
    index = Index(source="bible", digest="", splits={"train": Split(part="train", positions=None, examples=1)},
                  inputs={}, targets={}, learnt={"tokens": {"names": names}})
    (folder / "ingest" / "index.json").write_text(index.model_dump_json())
    (folder / "train" / "model.keras").write_bytes(b"")
    return Trained(Recipe.model_validate(FIRST), folder / "ingest", folder / "train")


def test_a_recipe_that_is_needed_is_trained_once_and_its_files_are_taken(tmp_path):
    asked = []

    def train(path):
        asked.append(str(path))
        return trained(tmp_path)

    recipe = settled(Recipe.model_validate(RECIPE), train)
    assert asked == ["first.yaml"]
    assert recipe.model.weights.file == str(tmp_path / "train" / "model.keras")
    text = recipe.data.feature("tokens", Text)
    learnt = text.tokenizer.learn([], ("<PAD>", "<UNKNOWN>", "<START>", "<END>"))
    assert learnt.names == NAMES
    tokens = text.decode("goodly bad Good <MASK>", learnt).numpy()
    assert tokens[:5].tolist() == [START, 5, 7, 6, UNKNOWN] and MASK not in tokens
    assert text.described(learnt)["kind"] == "wordpiece" and not text.described(learnt)["lower"]
    assert settled(recipe, train).written() == recipe.written()


def test_the_model_that_judges_is_trained_first_and_its_file_is_taken(tmp_path):
    written = {"name": "v", "task": {"image_generation": {"judge": "first.yaml"}}, "model": {"builder": "vae"},
               "data": {"source": "digits", "image": {"size": 8, "channels": 1}}}
    recipe = settled(Recipe.model_validate(written), lambda path: trained(tmp_path))
    judge = recipe.task.judge
    assert judge.of == "first.yaml" and judge.file == str(tmp_path / "train" / "model.keras")
    assert judge.digest == hashlib.sha256(b"").hexdigest(), "another model judges otherwise"
    written["task"]["image_generation"]["judge"] = str(tmp_path / "none.keras")
    with pytest.raises(UserError, match=r"task\.image_generation\.judge: there is no file"):
        settled(Recipe.model_validate(written), lambda path: pytest.fail("trained"))
    written |= {"task": {"image_translation": {"judge": "first.yaml"}}, "model": {"builder": "pix2pix"}}
    written["data"]["source"] = {"filtered": "digits"}
    judge = settled(Recipe.model_validate(written), lambda path: trained(tmp_path)).task.judge
    assert judge.file == str(tmp_path / "train" / "model.keras")


def test_inceptions_weights_are_taken_by_their_digest_or_downloaded_later(tmp_path):
    written = {"name": "v", "task": {"image_generation": {"judge": "inception"}}, "model": {"builder": "vae"},
               "data": {"source": "digits", "image": {"size": 8, "channels": 1}}}
    recipe = Recipe.model_validate(written)
    assert settled(recipe, lambda path: pytest.fail("trained")).written() == recipe.written()
    (tmp_path / "inception.h5").write_bytes(b"weights")
    written["task"]["image_generation"]["judge"] = {"of": "inception", "file": str(tmp_path / "inception.h5")}
    judge = settled(Recipe.model_validate(written), lambda path: pytest.fail("trained")).task.judge
    assert judge.is_inception and judge.digest == hashlib.sha256(b"weights").hexdigest()
    written["task"]["image_generation"]["judge"]["file"] = str(tmp_path / "none.h5")
    with pytest.raises(UserError, match=r"judge: there is no file .*none\.h5"):
        settled(Recipe.model_validate(written), lambda path: pytest.fail("trained"))


def test_the_autoencoder_of_a_diffusion_is_trained_first_and_its_file_is_taken(tmp_path):
    written = {"name": "l", "task": {"image_generation": {"judge": "judge.keras", "by": "text", "diffusion": {}}},
               "model": {"builder": "latent_diffusion", "weights": {"autoencoder": "first.yaml"}},
               "data": {"source": {"captioned": "digits"}, "image": {"size": 8, "channels": 1}}}
    written["task"]["image_generation"]["judge"] = str(trained(tmp_path).train / "model.keras")
    recipe = settled(Recipe.model_validate(written), lambda path: trained(tmp_path))
    assert recipe.model.weights.file == str(tmp_path / "train" / "model.keras")
    assert recipe.model.weights.fingerprint().startswith(recipe.model.weights.file), "other weights train anew"
    assert settled(recipe, lambda path: trained(tmp_path)).written() == recipe.written()


def test_a_recipe_that_takes_nothing_over_stays_as_it_is():
    recipe = Recipe.model_validate(FIRST)
    assert settled(recipe, lambda path: pytest.fail("trained")) is recipe


def test_weights_want_the_vocabulary_that_they_were_trained_with(tmp_path):
    recipe = Recipe.model_validate({**RECIPE, "data": {"source": "vader"}})
    with pytest.raises(UserError, match=re.escape("set data.tokens.tokenizer to {pretrained: first.yaml}")):
        settled(recipe, lambda path: trained(tmp_path / "one"))
    both = json.loads(json.dumps(RECIPE))
    both["data"]["tokens"]["tokenizer"] = {"pretrained": "other.yaml"}
    names = {"first.yaml": NAMES, "other.yaml": [*NAMES[:-1], "ugly"]}
    with pytest.raises(UserError, match="was trained with a vocabulary of its own"):
        settled(Recipe.model_validate(both), lambda path: trained(tmp_path / path.stem, names[path.name]))


@pytest.mark.parametrize(("of", "said"), [
    ("runs/none/latest", "there is no runs/none/latest; give a recipe"), ("none.json", "none.json has no vocabulary")])
def test_what_is_not_there_is_named(tmp_path, monkeypatch, of, said):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.model_validate({**RECIPE, "model": {"builder": "bert"}, "data": {
        "source": "vader", "tokens": {"tokenizer": {"pretrained": of}}}})
    with pytest.raises(UserError, match=said):
        settled(recipe, lambda path: pytest.fail("trained"))


def test_tokens_that_are_not_known_yet_are_refused_with_what_makes_them_known():
    with pytest.raises(UserError, match=r"first\.yaml are not known before it is trained"):
        Pretrained(of="first.yaml").learn([], ())


def test_a_vocabulary_without_ends_is_refused_where_texts_have_some(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"kind": "word", "lower": True, "vocabulary": ["<PAD>", "<UNKNOWN>", "good"]}))
    tokenizer = Pretrained(of=str(path), cut="word", vocabulary=str(path))
    assert tokenizer.learn([], ("<PAD>", "<UNKNOWN>")).names[2] == "good"
    with pytest.raises(UserError, match="set ends: false"):
        tokenizer.learn([], ("<PAD>", "<UNKNOWN>", "<START>", "<END>"))


def test_a_bundles_tokenizer_says_how_text_is_cut(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"kind": "word", "lower": False, "vocabulary": ["<PAD>", "<UNKNOWN>", "Good"]}))
    recipe = Recipe.model_validate({**RECIPE, "model": {"builder": "bert"}, "data": {
        "source": "vader", "tokens": {"tokenizer": {"pretrained": str(path)}}}})
    text = settled(recipe, lambda path: pytest.fail("trained")).data.feature("tokens", Text)
    learnt = text.tokenizer.learn([], ("<PAD>", "<UNKNOWN>"))
    assert text.decode("Good good", learnt).numpy()[:3].tolist() == [2, 1, 0]


def test_another_vocabulary_in_the_same_file_makes_the_data_again(tmp_path):
    path = tmp_path / "tokenizer.json"

    def key(words):
        path.write_text(json.dumps({"kind": "word", "lower": True, "vocabulary": ["<PAD>", "<UNKNOWN>", *words]}))
        recipe = Recipe.model_validate({**RECIPE, "model": {"builder": "bert"}, "data": {
            "source": "vader", "tokens": {"tokenizer": {"pretrained": str(path)}}}})
        return settled(recipe, lambda path: pytest.fail("trained")).written()["data"]

    assert key(["good"]) == key(["good"]) != key(["poor"])


def test_recipes_that_take_over_from_each_other_are_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        written = {**FIRST, "data": {**FIRST["data"], "tokens": {"tokenizer": {
            "pretrained": str(tmp_path / f"{other}.yaml")}}}}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(written))
    path = tmp_path / "a.yaml"
    options = Options(tmp_path / "runs", track=False)
    runner = Runner(recipe_file.read(path), str(path), options, Display(Console(quiet=True)))
    with pytest.raises(UserError, match=r"a\.yaml takes over from itself"):
        runner()


def test_the_recipes_fit_each_other():
    tuned, first = (recipe_file.read(ROOT / f"recipes/language/{name}.yaml") for name in ("bert", "bert_pretrain"))
    for name in ("depth", "units", "heads", "hidden"):
        assert tuned.model.settings[name] == first.model.settings[name]
    assert tuned.data.model_extra["tokens"]["length"] <= first.data.model_extra["tokens"]["length"]
