"""`litepress generate` of models that take strings: on a server, over both protocols, and in a SavedModel."""
import keras
import numpy as np
import pytest

import models
from export.signature import Signature, Tensor
from export.targets import saved_model
from export.writing.sampling import Sampling
from pipelines.errors import UserError
from pipelines.tasks.language_model import LanguageModel
from pipelines.tasks.language_model.writing import Writing
from pipelines.tools import generate, generate_served
from pipelines.tools.predict import Asked
from serving.embedded import serving
from tests.pipelines.tasks.small_data import data_of
from tests.pipelines.tools.written_text import LINES


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the folder of a model that a server has, and what `generate` says of the file in it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "lines.txt").write_text("\n".join(LINES * 4))
    task = LanguageModel()
    data = data_of(task, source={"text_lines": {"path": str(folder / "lines.txt")}}, tokens={
        "tokenizer": "character", "length": 24, "ends": True})
    keras.utils.set_random_seed(4)
    model = models.build("language_lstm", **task.dimensions(data.index), embedding=8, units=[12])
    model.set_weights([5 * weight for weight in model.get_weights()])
    saved_model.export(model, folder / "words" / "1", task.functions(model, data, "server"))
    asked = Asked(folder / "words" / "1", task, data.index, data.features)
    return folder / "words", "".join(generate.pieces(asked, "In the", Writing(15, Sampling())))


def said(where, how=None):
    told = []
    generate.generate(where, "In the", how or Writing(15, Sampling()), told.append)
    return "".join(told)


def test_a_server_is_asked_over_both_protocols_and_a_folder_alike(exported):
    folder, expected = exported
    assert 0 < len(expected) <= 15
    with serving(folder, "words") as running:
        for where in (f"http://{running.rest}/v1/models/words", f"http://{running.rest}/v1/models/words/versions/1",
                      f"grpc://{running.grpc}/words", f"{running.grpc}/words"):
            assert said(where) == expected, where
        stop = expected[2]
        assert said(f"{running.grpc}/words", Writing(15, Sampling(), stops=(stop,))) == expected[:expected.index(stop)]
        with pytest.raises(UserError, match=r"takes no --beams; leave it out, or give a file of the model"):
            said(f"http://{running.rest}/v1/models/words", Writing(5, Sampling(), beams=2))
        with pytest.raises(UserError, match=r"model others; give http://host:port/v1/models/NAME or grpc"):
            said(f"http://{running.rest}/v1/models/others")
    assert generate_served.of_folder(folder / "1", "In the", Writing(15, Sampling())) == expected


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/v1/models/words", "127.0.0.1:9/words"])
def test_a_server_that_cannot_be_reached_is_named_in_one_line(where):
    with pytest.raises(UserError) as raised:
        said(where)
    assert str(raised.value).startswith(f"generate: {where}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(("text", "expected"), [
    ("http://host:8501/v1/models/one", (False, False, "host:8501", "one", None, None)),
    ("https://host:8501/v1/models/one/versions/3/", (False, True, "host:8501", "one", 3, None)),
    ("http://host:8501", (False, False, "host:8501", "default", None, None)),
    ("grpc://host:8500/one/labels/stable", (True, False, "host:8500", "one", None, "stable")),
    ("grpc host:8500", (True, False, "host:8500", "default", None, None)),
    ("[::1]:8500/one", (True, False, "[::1]:8500", "one", None, None))])
def test_addresses_say_where_and_which(text, expected):
    assert generate_served.address(text)[1:] == expected


def test_paths_are_no_addresses_and_what_looks_like_one_is_refused():
    assert generate_served.address("runs/words/latest") is None and generate_served.address("a.tflite") is None
    with pytest.raises(UserError, match="is not the address of a model; give http://host:port/v1/models/NAME"):
        generate_served.address("http://host/other")


class Known:
    """What has signatures as a server's metadata lists them, and says what it was asked."""

    def __init__(self, **inputs):
        self.signatures = {name: Signature(
            name=name, inputs=tuple(Tensor(name=one, dtype=dtype, shape=()) for one, dtype in taken.items()),
            outputs=(Tensor(name="generated", dtype="string", shape=()),)) for name, taken in inputs.items()}
        self.asked = []

    def predict(self, inputs, signature):
        self.asked.append((signature, {name: value[0] for name, value in inputs.items()}))
        count = int(inputs["count"][0])
        return {"generated": np.array([b"IN THE" + b"!" * count], object)}


PLAIN = {"text": "string", "count": "int32"}
WIDE = {**PLAIN, "temperature": "float32", "top_k": "int32", "top_p": "float32", "seed": "int64"}


def test_the_narrowest_signature_that_takes_what_is_needed_is_asked():
    known = Known(generate=PLAIN, sample=WIDE, other={"tokens": "int32"})
    assert generate_served._continued(known, "it", "In the", Writing(3, Sampling())) == "!!!"
    assert known.asked[0] == ("generate", {"text": b"In the", "count": 3})
    generate_served._continued(known, "it", "In the", Writing(3, Sampling(0.5, 7, 0.25, seed=9)))
    assert known.asked[-2] == ("sample", {"text": b"In the", "count": 3, "temperature": 0.5, "top_k": 7,
                                          "top_p": 0.25, "seed": 9})


@pytest.mark.parametrize(("known", "how", "line"), [
    (Known(generate=PLAIN), Writing(3, Sampling(1.0)), "it takes no --seed, --temperature; leave it out"),
    (Known(sample=WIDE), Writing(3, Sampling(1.0, repetition_penalty=2.0)), "it takes no --repetition-penalty;"),
    (Known(other={"tokens": "int32"}), Writing(3, Sampling()), "it has the signatures other, and none that takes ")])
def test_what_a_server_lacks_is_refused(known, how, line):
    with pytest.raises(UserError, match=line):
        generate_served._continued(known, "it", "In the", how)
