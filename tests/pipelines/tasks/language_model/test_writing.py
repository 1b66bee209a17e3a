"""The driver of language models: the same text whatever file is asked, and what is shown of it piece by piece."""
import itertools

import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.predictors import ChunkedPredictor, open_predictor
from export.targets import litert_lm
from export.writing.sampling import Sampling
from models.chunks import ChunkedDecoder
from pipelines.features.tokenizers.tokenizer import END, START
from pipelines.tasks.language_model import writing
from pipelines.tasks.language_model.writing import Writer, Writing

LENGTH, VOCABULARY, PROMPT = 24, 9, [5, 7, 4, 8]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model with large random weights, asked for the whole text, and its file that keeps what it has read."""
    keras.utils.set_random_seed(3)
    model = models.build("llama", length=LENGTH, vocabulary=VOCABULARY, depth=1, units=16, heads=4, groups=2)
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign((1 if weight.name == "scale" else 0) + 0.6 * generator.normal(size=weight.shape))
    folder = tmp_path_factory.mktemp("written")
    model.save(folder / "model.keras")
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8,)), folder / "graph")
    (folder / "model.tflite").write_bytes(convert.convert(folder / "graph", "float32"))
    return open_predictor(folder / "model.keras"), open_predictor(folder / "model.tflite")


def text(predictor, how, prompt=PROMPT, end=None):
    return list(writing.written(Writer(predictor, "tokens", LENGTH), prompt, how, end))


@pytest.mark.parametrize("how", [
    Writing(12, Sampling()), Writing(12, Sampling(1.5, seed=4)), Writing(12, Sampling(1.5, 4, 0.9, seed=2 ** 63)),
    Writing(12, Sampling(repetition_penalty=1.4)), Writing(12, Sampling(), beams=3),
    Writing(12, Sampling(repetition_penalty=1.2), beams=2, length_penalty=1.0)])
def test_a_text_is_the_same_asked_whole_and_some_tokens_a_call(files, how):
    whole, chunked = files
    assert isinstance(chunked, ChunkedPredictor)
    result = text(chunked, how, end=END)
    assert result == text(whole, how, end=END) and not {0, 1, START, END} & set(result) and len(result) <= 12


def test_greedy_takes_the_likeliest_token_of_the_model(files):
    whole, chunked = files
    read = [START, *PROMPT]
    for token in text(chunked, Writing(10, Sampling())):
        logits = whole.predict({"tokens": np.pad(read, (0, LENGTH - len(read)))[None].astype("int32")})["logits"]
        assert token == 3 + logits[0, len(read) - 1, 3:].argmax()
        read.append(token)


def test_a_seed_draws_the_same_text_again_and_another_one_another(files):
    drawn = [text(files[1], Writing(15, Sampling(2.0, seed=seed))) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_text_ends_where_the_room_does(files):
    """24 places: the start, 4 of the prompt and 19 that are read; the last one that is written is not read."""
    for how in (Writing(100, Sampling()), Writing(100, Sampling(), beams=2)):
        assert [len(text(file, how)) for file in files] == [20, 20]


def test_a_beam_finds_a_text_at_least_as_likely_as_greed(files):
    def likely(tokens):
        read = [START, *PROMPT, *tokens]
        row = np.pad(read, (0, LENGTH - len(read)))[None].astype("int32")
        logits = files[0].predict({"tokens": row})["logits"][0].astype("float64")[:, 3:]
        places = np.arange(len(PROMPT), len(PROMPT) + len(tokens))
        shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return shares[places, np.array(tokens) - 3].sum()

    every = [likely(one) for one in itertools.product(range(3, VOCABULARY), repeat=3)]
    best = text(files[1], Writing(3, Sampling(), beams=6 ** 3))
    assert likely(best) == pytest.approx(max(every)) and likely(best) >= likely(text(files[1], Writing(3, Sampling())))


def test_the_end_is_not_written_and_not_before_its_time(files):
    always = next(token for token in text(files[1], Writing(1, Sampling())))
    assert text(files[1], Writing(5, Sampling()), end=always) == []
    later = text(files[1], Writing(5, Sampling(), least=3), end=always)
    assert len(later) >= 3 and always not in later


def shown(tokens, stops=(), before=()):
    return list(writing.pieces(iter(tokens), list(before), "".join, stops))


def test_pieces_are_shown_as_soon_as_they_cannot_be_a_stop():
    assert shown("abc") == ["a", "b", "c"]
    assert shown("ab\n\nc", ["\n\n"]) == ["a", "b"]
    assert shown("ab\nc", ["\n\n"]) == ["a", "b", "\nc"]
    assert shown("ab\n", ["\n\n"]) == ["a", "b", "\n"]
    assert shown(["he ", "said: no", "thing"], ["no", "said"]) == ["he "]
    assert shown("cd", ["bc"], before="ab") == ["c", "d"], "what the prompt begins is not a stop"


def test_characters_of_which_bytes_are_missing_are_held_back():
    def read(tokens):
        return bytes(tokens).decode(errors="replace")

    assert list(writing.pieces("aé€".encode(), [], read)) == ["a", "é", "€"]
    assert "".join(writing.pieces("é".encode()[:1], [], read)) == "\ufffd"


def test_nothing_is_taken_behind_a_stop():
    tokens = iter("a.bc")
    assert list(writing.pieces(tokens, [], "".join, ["."])) == ["a"] and next(tokens) == "b"
