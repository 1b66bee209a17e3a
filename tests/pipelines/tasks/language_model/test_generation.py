"""Texts to a server's Transformer: it goes on, with what it has read kept, as the Keras model does that reads all again
for each token; drawn tokens have the settings' probabilities."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from export.delivery import samples
from pipelines.features.tokenizers.tokenizer import END, START
from pipelines.tasks.language_model import generation
from pipelines.tools import deploy
from serving import request_log, servable, warmup
from serving.client import GrpcClient, RestClient
from serving.embedded import serving
from serving.flags import Options
from tests.pipelines.tasks.language_model import exported as exporting
from tests.pipelines.tasks.language_model.exported import LENGTH, Exported, texts

PROMPTS = ["In the", "", "and the word was", "t", "the end of all that is", "a" * (LENGTH - 1), "été"]


@pytest.fixture(scope="module", params=["gpt", pytest.param("llama", marks=pytest.mark.slow)])
def exported(request, tmp_path_factory):
    if request.param == "gpt":
        return request.getfixturevalue("served_gpt")
    folder = tmp_path_factory.mktemp(request.param)
    exporting.write(folder, request.param)
    return exporting.opened(folder, request.param)


def test_it_goes_on_as_the_keras_model_that_keeps_nothing(exported):
    counts = [30, 40, 12, 1, 10**9, 5, 0]
    expected = [exported.greedy(prompt, count) for prompt, count in zip(PROMPTS, counts, strict=True)]
    assert len(set(expected)) == len(PROMPTS) and len(expected[1]) > 3
    inputs = {"text": texts(PROMPTS), "count": np.array(counts, np.int32)}
    said = exported.predictor.predict(inputs, "generate")["generated"].tolist()
    assert [text.decode() for text in said] == expected
    alone = [exported.predictor.predict({name: value[row:row + 1] for name, value in inputs.items()}, "generate")[
        "generated"][0] for row in range(len(PROMPTS))]
    assert alone == said


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["mistral", "qwen2", "qwen3", "gemma", "gemma3"])
def test_its_likes_go_on_as_they_are_read_whole(builder, tmp_path):
    data, model = exporting.network(tmp_path, builder)
    network = Exported(data, exporting.whole(model), tmp_path, None)
    expected = [network.greedy(prompt, 30) for prompt in PROMPTS]
    assert len(set(expected)) > 4 and max(map(len, expected[:4])) > 20
    generate = generation.functions(model, data, "tokens")[0]
    said = generate.call(text=tf.constant(PROMPTS), count=tf.fill([len(PROMPTS)], 30))["generated"].numpy()
    assert [text.decode() for text in said] == expected


@pytest.mark.slow
def test_two_hundred_prompts_are_gone_on_with_alike_over_both_protocols(exported):
    names = exported.data.index.learnt["tokens"].names[4:]
    generator = np.random.default_rng(0)
    prompts = ["".join(generator.choice(names, size)) for size in generator.integers(0, LENGTH, 200)]
    expected = [exported.greedy(prompt, LENGTH) for prompt in prompts]
    assert len(set(expected)) > 190
    inputs = {"text": texts(prompts), "count": np.full(200, LENGTH, np.int32)}
    with serving(exported.folder, "language") as running:
        with GrpcClient(running.grpc, "language", batch=64) as client:
            assert [text.decode() for text in client.predict(inputs, "generate")["generated"]] == expected
        with RestClient(running.rest, "language", signature="generate", batch=50) as client:
            assert [text.decode() for text in client.predict(inputs)["generated"]] == expected


def test_the_same_seed_gives_the_same_text_whatever_else_is_in_the_batch(exported):
    seeds = [7, -1, 2**40, 7, 8]
    said = exported.sample(["In the"] * 5, 20, 1.0, seed=seeds)["generated"].tolist()
    assert said[0] == said[3] and len(set(said)) == 4
    assert exported.sample(["In the"], 20, 1.0, seed=2**40)["generated"].tolist() == said[2:3]
    mixed = exported.sample(["the end of", "In the", ""], [3, 20, 30], [0.0, 1.0, 3.0], seed=[1, 7, 9])
    assert mixed["generated"][1] == said[0]
    assert mixed["generated"][0].decode() == exported.greedy("the end of", 3)


SETTINGS = [(0.7, 0, 1.0), (1.5, 4, 1.0), (1.0, 0, 0.6), (1.0, 6, 0.5)]


def test_tokens_are_drawn_with_the_probabilities_of_the_settings(exported):
    """Against the definitions, worked out with NumPy, by 400 first tokens of each; one with no share is never drawn."""
    times = 400
    names = exported.data.index.learnt["tokens"].names
    drawn = exported.sample(["In the"] * times * len(SETTINGS), 1, *np.repeat(np.array(SETTINGS), times, axis=0).T,
                            seed=np.arange(times * len(SETTINGS)))
    for place, (temperature, top_k, top_p) in enumerate(SETTINGS):
        logits = exported.logits(exported.tokens("In the")) / temperature
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        order = np.argsort(-shares, kind="stable")
        if top_k:
            shares[order[top_k:]] = 0
            shares /= shares.sum()
        shares[order[np.cumsum(shares[order]) - shares[order] >= top_p]] = 0
        shares /= shares.sum()
        rows = slice(place * times, (place + 1) * times)
        texts_, reasons = drawn["added"][rows].tolist(), drawn["finish_reason"][rows].tolist()
        counts = np.array([texts_.count(name.encode()) for name in names])
        counts[END] = reasons.count(b"stop")
        assert counts.sum() == times and not counts[shares == 0].any()
        deviations = np.sqrt(times * shares * (1 - shares))
        assert (np.abs(counts - times * shares) <= 4.5 * deviations + 1e-6).all(), (temperature, top_k, top_p)


def test_it_says_what_was_added_how_much_and_why_no_more(exported):
    prompts = ["In the", "a" * LENGTH, "a" * 10_000, "a" * (LENGTH - 1), "was"]
    said = exported.sample(prompts, [4, 4, 4, 4, -3], 0.0)
    assert said["finish_reason"].tolist()[1:3] == [b"prompt_too_long"] * 2
    assert said["prompt_tokens"].tolist() == [6, LENGTH, LENGTH, LENGTH - 1, 3]
    assert said["added_tokens"].tolist()[1:] == [0, 0, len(said["added"][3].decode()), 0]
    assert [one.decode() for one in said["generated"][:1]] == [f"In the{said['added'][0].decode()}"]
    assert said["added"][4] == b"" and said["generated"][4] == b"was"
    ended = exported.sample([""] * 60, 40, 2.0, seed=np.arange(60))
    stopped = ended["finish_reason"] == b"stop"
    assert stopped.any() and (ended["added_tokens"][stopped] < 40).all()
    assert (ended["added_tokens"] == [len(text.decode()) for text in ended["added"]]).all()


def test_some_tokens_a_call_make_the_same_text(exported):
    prompts, seeds = ["In the", "", "and the word"], np.array([3, 4, 5])
    whole = exported.sample(prompts, 25, 1.2, 0, 0.95, seed=seeds)
    states = exported.predictor.predict({"text": texts(prompts)}, "prefill")
    names = [tensor.name for tensor in exported.predictor.signatures["decode"].inputs]
    settings = {"count": np.full(3, 25, np.int32), "temperature": np.full(3, 1.2, np.float32),
                "top_k": np.zeros(3, np.int32), "top_p": np.full(3, 0.95, np.float32), "seed": seeds}
    for steps in (1, 1, 0, 5, 2, 40):
        given = {name: states[name] for name in names if name not in settings and name != "steps"}
        states = exported.predictor.predict({**given, **settings, "steps": np.full(3, steps, np.int32)}, "decode")
    assert states["generated"].tolist() == whole["generated"].tolist()
    assert states["finish_reason"].tolist() == whole["finish_reason"].tolist()


@pytest.mark.parametrize("text", ["<END>", "<START>", "<PAD> <UNKNOWN>", "<|endoftext|>", "</s>"])
def test_what_is_called_as_a_special_token_is_text(exported, text):
    tokens = exported.predictor.predict({"text": texts([text])}, "prefill")["tokens"][0]
    read = tokens[1:len(text) + 1]
    assert tokens[0] == START and (read != 0).all() and not set(read.tolist()) & {2, 3}


def test_odd_settings_and_prompts_are_answered(exported):
    said = exported.sample(["In the"] * 4, 5, [-1.0, np.nan, np.inf, 1e-30], [-5, 1, 0, 0], [0.0, np.nan, 1.0, 2.0])
    assert (said["added_tokens"] >= 0).all()
    assert said["generated"][3].decode() == said["generated"][0].decode() == exported.greedy("In the", 5)
    raw = {"text": np.array([b"\xff\xfe", b"\xe3\x81\x82"], object), "count": np.full(2, 3, np.int32)}
    assert len(exported.predictor.predict(raw, "generate")["generated"]) == 2


@pytest.mark.slow
def test_a_promoted_version_is_warmed_up_with_texts(exported, tmp_path):
    one = samples.Sample({"tokens": np.ones(LENGTH, np.int32)}, {}, {}, {"keras": {}}, {})
    samples.write(tmp_path / "samples", [one])
    (path, content), = deploy.warm_up(exported.folder / "1", tmp_path / "samples", "gpt").items()
    version = shutil.copytree(exported.folder / "1", tmp_path / "1")
    (version / path).parent.mkdir()
    (version / path).write_bytes(content)
    names = [log.predict_log.request.model_spec.signature_name for log in request_log.read(version / path)]
    assert set(names) == {"generate", "sample", "prefill", "prefill_pieces"}
    loaded = servable.load(version, Options())
    assert warmup.replay(version, loaded, 1) == len(names) == 12
    loaded.close()
