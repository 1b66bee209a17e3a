"""Files of language models that read some tokens a call: they answer as the Keras model does, prefilled and token by
token."""
import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.predictors import ChunkedPredictor, open_predictor
from export.targets import litert_lm
from export.tflite import file as tflite_file
from models.chunks import ChunkedDecoder

LENGTH, VOCABULARY = 24, 50
CASES = {"gpt": {}, "llama": {"groups": 2}, "qwen2": {"groups": 2}, "gemma3": {"groups": 1, "window": 5}}


@dataclasses.dataclass(frozen=True)
class Made:
    """A model whose weights are drawn anew, its file, and some texts with the logits that it gives."""

    model: keras.Model
    path: Path
    texts: np.ndarray
    expected: np.ndarray

    @property
    def file(self) -> ChunkedPredictor:
        return ChunkedPredictor(self.path)

    @property
    def runners(self) -> dict:
        """What asks each signature, with caches as arrays."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(self.path))
        return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


@pytest.fixture(scope="module", params=["gpt", "llama", *(
    pytest.param(name, marks=pytest.mark.slow) for name in ("qwen2", "gemma3"))])
def made(request, tmp_path_factory) -> Made:
    model = models.build(request.param, length=LENGTH, vocabulary=VOCABULARY, depth=2, units=16, heads=4,
                         **CASES[request.param])
    generator = np.random.default_rng(1)
    for weight in model.weights:
        around = 1 if weight.name in ("gamma", "scale") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
    folder = tmp_path_factory.mktemp("made")
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8, 16, 128)), folder / "graph")
    path = folder / "model.tflite"
    path.write_bytes(convert.convert(folder / "graph", "float32"))
    texts = generator.integers(1, VOCABULARY, (2, LENGTH)).astype("int32")
    return Made(model, path, texts, np.asarray(model(texts, training=False)["logits"]))


def test_a_file_has_the_signatures_and_tensors_that_the_engine_asks_for(made):
    groups = CASES[made.model.name].get("groups", 4)
    interpreter = made.runners
    assert set(interpreter) == {"decode", "prefill_8", "prefill_16"}, "128 is more than the model has places"
    for name, count in {"decode": 1, "prefill_8": 8, "prefill_16": 16}.items():
        taken = interpreter[name].get_input_details()
        shapes = {one: tuple(detail["shape"]) for one, detail in taken.items()}
        caches = {f"kv_cache_{part}_{number}": (1, groups, LENGTH, 4) for part in "kv" for number in range(2)}
        assert shapes == {"tokens": (1, count), "input_pos": (count,), **caches}
        assert {taken["tokens"]["dtype"], taken["input_pos"]["dtype"]} == {np.int32}
        given = interpreter[name].get_output_details()
        assert {one: tuple(detail["shape"]) for one, detail in given.items()} == (
            caches | ({"logits": (1, 1, VOCABULARY)} if name == "decode" else {}))


def test_places_are_written_and_vectors_looked_up_by_operators_that_are_fast_and_small(made):
    operators = tflite_file.operators(made.path.read_bytes())
    assert operators["DYNAMIC_UPDATE_SLICE"] == 3 * 2 * 2 and operators["EMBEDDING_LOOKUP"] == 3
    assert not {"SCATTER_ND", "ONE_HOT", "GATHER"} & set(operators)


def test_it_answers_token_by_token_as_the_model_does(made):
    predictor = open_predictor(made.path)
    assert isinstance(predictor, ChunkedPredictor)
    assert np.abs(made.expected).max() > 2
    np.testing.assert_allclose(predictor.predict({"tokens": made.texts})["logits"], made.expected, atol=1e-4)


@pytest.mark.parametrize("count", [1, 5, 9, 17, 21, LENGTH])
def test_prompts_of_any_length_are_prefilled_and_never_beyond_the_end(made, count):
    """A prompt of 24 goes 16 and 7, which a prefill of 8 just has room for; the last token is decoded."""
    text = made.file.text()
    np.testing.assert_allclose(text.read(made.texts[0, :count].tolist()), made.expected[0, count - 1], atol=1e-4)
    for place in range(count, LENGTH):
        np.testing.assert_allclose(text.after(int(made.texts[0, place])), made.expected[0, place], atol=1e-4)


def test_a_prompt_in_two_parts_is_read_without_writing_over_what_is_there(made):
    """At place 19 there is no room for a prefill of 8: it would be moved forward, and spoil places 16 to 18."""
    text = made.file.text()
    text.read(made.texts[1, :19].tolist())
    logits = text.read(made.texts[1, 19:23].tolist())
    np.testing.assert_allclose(logits, made.expected[1, 22], atol=1e-4)
    np.testing.assert_allclose(text.after(int(made.texts[1, 23])), made.expected[1, 23], atol=1e-4)


def test_places_that_the_engine_leaves_at_zero_are_not_asked(made):
    runners = made.runners
    caches = {name: np.zeros(shape, np.float32) for name, shape in made.file.caches.items()}
    tokens = np.pad(made.texts[:1, :5], [(0, 0), (0, 3)])
    places = np.pad(np.arange(5, dtype=np.int32), [(0, 3)])
    caches = runners["prefill_8"](tokens=tokens, input_pos=places, **caches)
    answer = runners["decode"](tokens=made.texts[:1, 5:6], input_pos=np.array([5], np.int32), **caches)
    np.testing.assert_allclose(answer["logits"][0, 0], made.expected[0, 5], atol=1e-4)


@pytest.mark.parametrize("in_place", [True, False])
def test_caches_are_written_in_place_or_from_one_memory_into_another_and_texts_do_not_share_them(made, in_place):
    file = made.file
    assert file.is_in_place
    file.is_in_place = in_place
    text = file.text()
    assert (text.others is text.caches) == in_place
    text.read(made.texts[0, :10].tolist())
    other = text.copy()
    other.read(made.texts[1, 10:20].tolist())
    for place in range(10, LENGTH):
        np.testing.assert_allclose(text.after(int(made.texts[0, place])), made.expected[0, place], atol=1e-4)
    assert (text.size, other.size) == (LENGTH, 20)


def test_a_text_that_is_full_and_one_without_tokens_are_refused(made):
    text = made.file.text()
    with pytest.raises(ValueError, match="room for 24 more tokens, and 0 are to be read"):
        text.read([])
    with pytest.raises(ValueError, match="and 25 are to be read"):
        text.read([1] * 25)
    text.read(made.texts[0].tolist())
    with pytest.raises(ValueError, match="has 24 tokens, as many as the model takes"):
        text.after(1)


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "share"), [("float16", 0.01), ("dynamic", 0.08)])
def test_files_of_fewer_bits_are_smaller_and_nearly_the_same(made, encoding, share):
    content = convert.convert(made.path.with_name("graph"), encoding)
    assert len(content) < made.path.stat().st_size
    path = made.path.with_name(f"{encoding}.tflite")
    path.write_bytes(content)
    result = ChunkedPredictor(path).predict({"tokens": made.texts})["logits"]
    assert np.abs(result - made.expected).max() < share * np.abs(made.expected).max()


def test_other_models_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="language_lstm is not a Transformer"):
        ChunkedDecoder(models.build("language_lstm", length=8, vocabulary=20))
    path = tmp_path / "a.litertlm"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"is not a \.litertlm file"):
        open_predictor(path)
