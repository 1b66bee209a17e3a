"""Texts to a server's language model: it goes on as `litepress generate` does, and says how surprising they are."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.predictors import open_predictor
from export.targets import saved_model
from export.writing.sampling import Sampling
from pipelines.errors import UserError
from pipelines.tasks.language_model import LanguageModel
from pipelines.tasks.language_model.writing import Writing
from pipelines.tools import generate
from pipelines.tools.predict import Asked
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.pipelines.tasks.small_data import data_of

LINES = ["In the beginning", "was the word,", "and the word was été", "and again the end"]
PROMPTS, COUNTS = ["In the", "", "and the word was", "the"], [9, 12, 0, 30]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return data, and a SavedModel of a network with large random weights, whose answers vary: its folder, and it."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "lines.txt").write_text("\n".join(LINES * 4))
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(folder / "lines.txt")}}, tokens={
        "tokenizer": "character", "length": 24, "ends": True})
    keras.utils.set_random_seed(4)
    model = models.build("language_lstm", **task.dimensions(data.index), embedding=8, units=[12])
    model.set_weights([5 * weight for weight in model.get_weights()])
    saved_model.export(model, folder / "served" / "1", task.functions(model, data, "server"))
    return data, folder / "served", open_predictor(folder / "served" / "1")


def continued(data, path, prompt, count):
    """Return what `litepress generate` says."""
    asked = Asked(path=path, task=data.task, index=data.index, features=data.features)
    return prompt + "".join(generate.pieces(asked, prompt, Writing(count, Sampling())))


def test_it_goes_on_as_litepress_generate_does(exported):
    data, folder, predictor = exported
    expected = [continued(data, folder / "1", prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]
    assert len(set(expected)) == 4 and expected[0].lower().startswith("in the") and len(expected[3]) > 1
    texts = {"text": np.array([prompt.encode() for prompt in PROMPTS], object), "count": np.array(COUNTS, np.int32)}
    said = predictor.predict(texts, "generate")["generated"]
    assert [text.decode() for text in said] == expected
    alone = predictor.predict({name: values[3:] for name, values in texts.items()}, "generate")["generated"]
    assert alone.tolist() == said[3:].tolist()
    with serving(folder, "language") as running:
        with GrpcClient(running.grpc, "language") as client:
            assert client.predict(texts, "generate")["generated"].tolist() == said.tolist()
        with RestClient(running.rest, "language", signature="generate") as client:
            answers = client.predict(texts)["generated"]
            assert [one.encode() if isinstance(one, str) else one for one in answers.tolist()] == said.tolist()


def test_bits_are_those_of_the_whole_texts_tokens(exported):
    data, _, predictor = exported
    learnt = data.index.learnt["tokens"]
    texts = [*LINES, "", "\u30be", "a" * 1000]
    said = predictor.predict({"text": np.array([text.encode() for text in texts] + [b"\xff\xfe"], object)}, "score")
    assert np.isfinite(said["bits"]).all() and said["count"][4] == 1  # its end alone
    for text, bits, count in zip(texts, said["bits"], said["count"], strict=False):
        measure = data.task.measure(data.index)
        rows = {name: data.features[name].decode(tf.constant(text.encode()), learnt).numpy()[None]
                for name in ("tokens", "next")}
        measure.add({"next": rows["next"]}, predictor.predict({"tokens": rows["tokens"]}))
        assert (measure.tokens, measure.bits) == (count, pytest.approx(bits, rel=1e-5))


def test_odd_prompts_are_gone_on_with(exported):
    """Nothing, bytes that are not UTF-8, what is unknown alone, and 10 MB, of which the first tokens are read."""
    texts = np.array([b"", b" ", b"\xff\xfe", "\u30be\u30be".encode(), b"the end " * 1_300_000], object)
    longer, as_it_is = (exported[2].predict({"text": texts, "count": np.full(5, count, np.int32)}, "generate")[
        "generated"] for count in (3, -5))
    for text, beginning in zip(longer, as_it_is, strict=True):
        assert text.startswith(beginning) and len(text.decode()) <= 4096 * 7


def test_a_prompt_that_is_not_utf8_is_refused():
    with pytest.raises(UserError, match=r"--prompt is not UTF-8 \(character 1\)"):
        generate.generate("nowhere", "a\udcff", Writing(1, Sampling()), print)
