"""Texts to a server's translator, and translations out of it: those of the driver that apps have."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.predictors import open_predictor
from export.targets import saved_model
from pipelines.tasks.translation import Translation, driver
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from tests.pipelines.tasks.small_data import WORD, data_of

#: Nothing, white space, what is unknown alone, bytes that are not UTF-8, and 10 MB too.
TEXTS = [b"17", b"", b" ", b"2048", "ゾ".encode(), b"9 9 9", b"\xff\xfe", b"12 " * 3_400_000]


@pytest.fixture(scope="module", params=[("seq2seq", {"embedding": 8, "units": 10, "dropout": 0.0}),
                                       ("t5", {"depth": 1, "units": 8, "heads": 2, "dropout": 0.0})],
                ids=["seq2seq", "t5"])
def exported(tmp_path_factory, request):
    """Return data, and a SavedModel of a network with large random weights, whose answers vary: its folder, and it."""
    folder = tmp_path_factory.mktemp("translator")
    (folder / "pairs.tsv").write_text("".join(f"{number} {number // 7}\té{number:b} {number:o}\n"
                                              for number in range(60)))
    cut = {"tokenizer": WORD, "length": 14}
    task, (builder, settings) = Translation(), request.param
    data = data_of(task, source={"parallel_text": str(folder / "pairs.tsv")}, tokens=cut, previous=cut)
    keras.utils.set_random_seed(2)
    model = models.build(builder, **task.dimensions(data.index), **settings)
    model.set_weights([4 * weight for weight in model.get_weights()])
    assert [one.signature.name for one in task.functions(model, data, "device")] == ["serving_default", "decode_step"]
    saved_model.export(model, folder / "served" / "1", task.functions(model, data, "server"))
    return data, folder / "served", open_predictor(folder / "served" / "1")


def test_translations_are_those_of_the_driver(exported):
    data, folder, predictor = exported
    read, learnt = data.features["tokens"], data.index.learnt
    tokens = np.stack([read.decode(tf.constant(text), learnt["tokens"]).numpy() for text in TEXTS])
    written = driver.greedy(driver.InSteps(predictor), {"tokens": tokens}, data.features["previous"].length)
    expected = data.task.in_words({"answer": written}, data.index)
    assert len(set(expected)) > 2
    texts = {"text": np.array(TEXTS, object)}
    said = predictor.predict(texts, "translate")["translation"]
    assert [text.decode() for text in said] == expected
    texts, said = {"text": texts["text"][:5]}, said[:5]
    with serving(folder, "translator") as running:
        with GrpcClient(running.grpc, "translator") as client:
            assert client.predict(texts, "translate")["translation"].tolist() == said.tolist()
        with RestClient(running.rest, "translator", signature="translate") as client:
            answers = client.predict(texts)["translation"]
            assert [one.encode() if isinstance(one, str) else one for one in answers.tolist()] == said.tolist()
