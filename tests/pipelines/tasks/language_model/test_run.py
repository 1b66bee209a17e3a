"""Texts to verified language models: the whole text is measured once, and files go on step by step as they read it
whole."""
import json
import zlib

import numpy as np
import pytest
import tensorflow as tf

from export.predictors import open_predictor
from export.writing.sampling import Sampling
from pipelines.errors import UserError
from pipelines.features.tokenizers.tokenizer import START
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file
from pipelines.tasks.language_model.writing import Writing
from pipelines.tools import generate
from pipelines.tools.predict import find_model
from tests.conftest import command

pytestmark = pytest.mark.slow  # a whole run


@pytest.fixture(scope="module")
def results(words):
    return json.loads((words.folder / "r.json").read_text())


@pytest.fixture(scope="module")
def data(words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(words.folder)
        recipe = recipe_file.read(words.folder / "recipe.yaml")
        index = Index.model_validate_json((words.run / "ingest" / "index.json").read_bytes())
        yield Data(recipe.data, recipe.task, index, recipe.seed)


def read_whole(phone, text, data):
    """Return the logits of what follows each place of a text, (characters, vocabulary)."""
    feature, learnt = data.features["tokens"], data.index.learnt["tokens"]
    tokens = feature.decode(tf.constant(text), learnt).numpy()
    return tokens, phone.predict({"tokens": tokens[None]})["logits"][0]


def test_the_bits_are_those_of_every_character_of_the_test_text(words, results, data):
    text = (words.folder / "texts" / "test.txt").read_text()
    reference = open_predictor(words.bundle / "litert" / "float32.tflite")
    names, bits, seen = data.index.names("next"), 0.0, ""
    for piece in data.section.source.tables()["test"].columns["text"]:
        _, logits = read_whole(reference, piece.decode(), data)
        for place, letter in enumerate(piece.decode()):
            seen += letter
            bits -= tf.nn.log_softmax(logits[place])[names.index(letter)].numpy() / np.log(2)
    assert seen == text
    assert results["reference"]["metrics"]["bits_per_character"] == pytest.approx(bits / len(text), abs=1e-4)
    assert results["reference"]["metrics"]["perplexity"] == pytest.approx(2 ** (bits / len(text)), rel=1e-3)


def test_gzip_stands_beside(words, results):
    learnt, asked = ((words.folder / "texts" / f"{part}.txt").read_bytes() for part in ("train", "test"))
    rest = "".join(text.decode() for text in _taken_for_validation(words))
    assert not rest or rest.encode() in learnt
    kept = learnt[:len(learnt) - len(rest.encode())]
    bits = 8 * (len(zlib.compress(kept + asked, 9)) - len(zlib.compress(kept, 9))) / len(asked)
    beside = results["reference"]["baselines"]
    assert list(beside) == ["gzip", "xz", "five_gram"]
    assert beside["gzip"]["bits_per_character"] == pytest.approx(bits, abs=1e-6)


def _taken_for_validation(words):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(words.folder)
        index = Index.model_validate_json((words.run / "ingest" / "index.json").read_bytes())
        texts = recipe_file.read(words.folder / "recipe.yaml").data.source.tables()["train"].columns["text"]
        return texts[index.splits["validation"].positions].tolist()


@pytest.mark.parametrize(("name", "most"), [("float32", 1e-4), ("int8", 1.0)])
def test_steps_answer_as_the_whole_text(words, data, name, most):
    phone = open_predictor(words.bundle / "litert" / f"{name}.tflite")
    tokens, logits = read_whole(phone, "And he went forth again by the sea side", data)
    states = {tensor.name: np.zeros((1, *tensor.shape), "float32") for tensor in phone.signatures["step"].inputs
              if tensor.name != "token"}
    assert len(states) == 2 and tokens[0] == START
    for place, token in enumerate(tokens[tokens != 0]):
        answer = phone.predict({"token": np.array([token]), **states}, "step")
        states = {name: answer[f"next_{name}"] for name in states}
        assert np.abs(answer["logits"][0] - logits[place]).max() < most


def test_generate_goes_on_with_a_text_alike_with_steps_and_without(words):
    """A Keras file has no steps, and is asked for the whole text again and again."""
    files = (words.bundle / "litert" / "float32.tflite", words.run / "train" / "model.keras")
    how = Writing(20, Sampling())
    texts = ["".join(generate.pieces(find_model(file), "And he", how)) for file in files]
    assert texts[0] == texts[1] and len(texts[0]) == 20


def test_what_is_drawn_depends_on_the_seed(words):
    file = words.bundle / "litert" / "float32.tflite"
    first, again, other = ("".join(generate.pieces(find_model(file), "", Writing(200, Sampling(1.0, seed=seed))))
                           for seed in (1, 1, 2))
    assert first == again != other and len(first) == 200


def test_the_command_says_what_is_added(words):
    done = command("generate", str(words.run), "--prompt", "And he", "--characters", "5", cwd=words.folder)
    assert done.returncode == 0 and len(done.stdout) == 6 and done.stdout.endswith("\n")


def test_generate_names_what_the_training_text_lacks(words):
    with pytest.raises(UserError, match="--prompt has '€', which the training text lacks"):
        generate.generate(str(words.bundle / "litert" / "float32.tflite"), "a€", Writing(5, Sampling()), print)
