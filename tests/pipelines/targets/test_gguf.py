"""Files for llama.cpp: their weights, their tokenizers, what is refused, and what the engine itself makes of them."""
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from export.measure import llama_cpp
from export.targets import gguf, tools
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.sentencepiece import Bpe, SentencePiece
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.features.tokenizers.word import Word
from pipelines.ingest.sources import bible
from pipelines.targets import gguf_network, gguf_vocabulary
from pipelines.targets.gguf import Gguf
from pipelines.targets.held_out_prompts import Prompt, greedy
from pipelines.tasks.language_model.task import LanguageModel
from tests.conftest import command

library = pytest.importorskip("gguf", reason="wants the extra gguf")
needs_engine = pytest.mark.skipif(bool(tools.missing("gguf")), reason="llama.cpp is not installed")
SPECIAL_TOKENS = gguf.Special(start=2, end=3, unknown=1, padding=0, never=[0, 1, 2])
NAMES = [*SPECIAL, *ENDS, *"abcdefgh"]
WORDS = gguf.Vocabulary("t5", NAMES, [3, 2, 3, 3, *[1] * 8], [0.0] * 12)


def network(builder="llama", **settings):
    model = drawn(builder, vocabulary=12, **settings)
    return model, gguf_network.network(model)


def drawn(builder, vocabulary, **settings):
    """Return a model of random weights, always the same, that differ enough for its answers to."""
    keras.utils.set_random_seed(0)
    model = models.build(builder, **{"length": 48, "vocabulary": vocabulary, "depth": 2, "units": 32, "heads": 4,
                                     **settings})
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.15 * generator.normal(size=weight.shape))
    return model


def written(path, net, numbers, words=WORDS):
    gguf.write(path, "one", net, words, SPECIAL_TOKENS, numbers)
    reader = library.GGUFReader(path)
    return reader, {tensor.name: tensor for tensor in reader.tensors}


def test_a_file_says_what_the_engine_must_know(tmp_path):
    _, net = network(groups=2, rotary=500.0, epsilon=1e-6)
    reader, tensors = written(tmp_path / "one.gguf", net, "float32")
    known = {name: field.contents() for name, field in reader.fields.items()}
    assert known["general.architecture"] == "llama" and known["general.name"] == "one"
    expected = {"context_length": 48, "embedding_length": 32, "block_count": 2, "feed_forward_length": 96,
                "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 8,
                "rope.dimension_count": 8, "rope.freq_base": 500.0, "vocab_size": 12}
    assert {name: known[f"llama.{name}"] for name in expected} == expected
    assert known["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert known["tokenizer.ggml.tokens"] == NAMES and known["tokenizer.ggml.suppress_tokens"] == [0, 1, 2]
    assert (known["tokenizer.ggml.bos_token_id"], known["tokenizer.ggml.eos_token_id"]) == (2, 3)
    assert {tensor.tensor_type.name for tensor in tensors.values()} == {"F32"}


def test_tensors_are_those_that_the_package_has_for_the_architecture_and_hold_all_weights():
    for builder, settings, kind in (("llama", {"groups": 2}, "LLAMA"), ("llama", {"tied": True}, "LLAMA"),
                                    ("gpt", {}, "GPT2"), ("gpt", {"tied": False}, "GPT2"),
                                    ("qwen2", {"groups": 2}, "QWEN2"), ("qwen3", {"head_width": 6}, "QWEN3"),
                                    ("gemma", {}, "GEMMA"), ("gemma3", {"window": 8}, "GEMMA3")):
        model, net = network(builder, **settings)
        assert sum(tensor.size for tensor in net.tensors.values()) == model.count_params()
        known = {library.TENSOR_NAMES[one].format(bid=number)
                 for one in library.MODEL_TENSORS[library.MODEL_ARCH[kind]] for number in range(2)}
        assert {name.rsplit(".", 1)[0] for name in net.tensors} <= known
        assert ("output.weight" in net.tensors) == (settings.get("tied", builder != "llama") is False)


def test_queries_rotated_by_neighbours_give_the_scores_of_halves():
    """The rotation of neighbours, as Su et al. write it, of the permuted weights, and ours of the others."""
    from models.positions import rotated, rotations

    generator = np.random.default_rng(0)
    query, key = generator.normal(size=(2, 8, 6)).astype("float32")
    x = generator.normal(size=(5, 6)).astype("float32")
    turns = np.exp(1j * np.arange(5)[:, None] * 100.0 ** (-np.arange(2) / 2))

    def by_neighbours(weights):
        pairs = (x @ gguf_network.neighbours(weights, 2).T).reshape(5, 2, 2, 2)
        return (pairs[..., 0] + 1j * pairs[..., 1]) * turns[:, None]

    def by_halves(weights):
        heads = (x @ weights.T).reshape(5, 2, 4).transpose(1, 0, 2)
        return np.asarray(rotated(heads, *rotations(np.arange(5), 4, 100.0)))

    expected = np.einsum("qhi,khi->hqk", by_neighbours(query), by_neighbours(key).conj()).real
    np.testing.assert_allclose(np.matmul(by_halves(query), by_halves(key).transpose(0, 2, 1)), expected, rtol=1e-4,
                               atol=1e-4)


@pytest.mark.parametrize(("numbers", "kinds", "error"), [
    ("float16", {"F16"}, 2**-11), ("q8_0", {"Q8_0"}, 1 / 254), ("q4_0", {"Q4_0", "Q8_0"}, 1 / 8)])
def test_fewer_bits_are_within_half_a_step_of_each_block(tmp_path, numbers, kinds, error):
    _, net = network("gpt", hidden=64)
    _, tensors = written(tmp_path / "one.gguf", net, numbers)
    assert {tensor.tensor_type.name for tensor in tensors.values()} == kinds | {"F32"}
    assert tensors["position_embd.weight"].tensor_type.name == "F32"
    assert tensors["token_embd.weight"].tensor_type.name in ("F16", "Q8_0")
    for name, expected in net.tensors.items():
        stored = library.quants.dequantize(tensors[name].data, tensors[name].tensor_type)
        if tensors[name].tensor_type.name == "F32":
            np.testing.assert_array_equal(stored, expected)
            continue
        blocks, values = expected.reshape(-1, 32), stored.reshape(-1, 32)
        # the scale itself is in half precision
        most = np.abs(blocks).max(axis=1, keepdims=True) * (error + 2**-11)
        assert (np.abs(values - blocks) <= most).all() and not np.array_equal(values, blocks)


def test_what_gguf_cannot_express_is_refused(tmp_path):
    _, odd = network(units=36, heads=2, hidden=32)
    gguf.check(odd, "float16")
    for numbers in ("q8_0", "q4_0"):
        with pytest.raises(ValueError, match=r"a scale for 32 weights of a row, and token_embd\.weight has rows of 36; "
                                             "take units and hidden that 32 divides, or float16"):
            gguf.check(odd, numbers)
    with pytest.raises(ValueError, match=r"is not a Transformer that reads some tokens a call"):
        gguf_network.network(models.build("language_lstm", length=8, vocabulary=12))
    other = models.build("gpt", length=8, vocabulary=12, depth=1, units=8, heads=2)
    other.get_layer("block_0_feed_forward_activation").activation = "relu"
    with pytest.raises(ValueError, match=r"llama\.cpp has no network like gpt"):
        gguf_network.network(other)
    with pytest.raises(ValueError, match=r"tokens see 8 of those before them, and in llama\.cpp's llama all 48; set"):
        network("mistral", window=8)
    assert network("mistral", window=48)[1].architecture == "llama"
    with pytest.raises(ValueError, match="SentencePiece does not cut texts as word does"):
        gguf_vocabulary.vocabulary(RunningText(tokenizer=Word()), Learnt(names=NAMES))
    data = SimpleNamespace(task=SimpleNamespace(entry_name="translation"), features={})
    with pytest.raises(ValueError, match=r"goes on with texts, and this is translation; leave the target gguf out"):
        Gguf.read("gguf").export(SimpleNamespace(data=data), ["float32"])


@pytest.mark.parametrize("size", [10, 12])
def test_a_vocabulary_that_the_model_has_other_tokens_of_is_refused(size, tmp_path):
    learnt = Character().learn([b"abc def"], (*SPECIAL, *ENDS))
    assert len(learnt.names) == 11
    model = drawn("gpt", vocabulary=size)
    model.save(tmp_path / "model.keras")
    data = SimpleNamespace(task=LanguageModel(), features={"tokens": RunningText(tokenizer=Character())},
                           index=SimpleNamespace(learnt={"tokens": learnt}))
    context = SimpleNamespace(data=data, model=tmp_path / "model.keras", folder=tmp_path)
    with pytest.raises(ValueError, match=r"the model knows \d+ tokens, and the vocabulary of data.tokens has 11"):
        Gguf.read("gguf").export(context, ["float32"])


def test_without_the_engine_files_are_made_and_without_the_package_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else object())
    assert Gguf.ready() == "" and tools.missing("gguf") == (
        "xllamacpp is not installed; .venv/bin/pip install -e '.[gguf]' brings it")
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    assert Gguf.ready().startswith("gguf, sentencepiece are not installed")


def test_a_file_is_made_for_each_way_to_write_the_weights():
    assert Gguf.read("gguf").chosen([]) == ["float32", "q8_0"]
    assert Gguf.read({"gguf": ["q4_0", "float16"]}).artifacts([]) == ["gguf_q4_0", "gguf_float16"]


CASES = {"grouped-character": ("llama", {"groups": 2}, Character()),
         "gpt-bpe": ("gpt", {}, Bpe(most=300, lower=False)),
         "tied-sentencepiece": ("llama", {"tied": True}, SentencePiece(most=300)),
         "gpt-untied-small-letters": ("gpt", {"tied": False}, Character(lower=True)),
         "gpt-bytes": ("gpt", {}, ByteBpe(most=300)), "qwen2": ("qwen2", {"groups": 2}, Character()),
         "qwen3": ("qwen3", {"groups": 2, "head_width": 6, "tied": False}, Character()),
         "gemma": ("gemma", {"head_width": 6}, Character()),
         "gemma3": ("gemma3", {"depth": 7, "window": 8}, Character())}


@needs_engine
@pytest.mark.parametrize(("builder", "settings", "tokenizer"), [
    pytest.param(*CASES[name], id=name, marks=[] if name in ("grouped-character", "gpt-bytes") else pytest.mark.slow)
    for name in CASES])
def test_the_engine_cuts_texts_and_goes_on_as_keras_does(tmp_path, builder, settings, tokenizer):
    chapters = [text for _, _, text in bible.chapters(bible.GOSPELS)]
    learnt = tokenizer.learn([text.encode() for text in chapters[:3]], (*SPECIAL, *ENDS))
    model = drawn(builder, len(learnt.names), **settings)
    words = gguf_vocabulary.vocabulary(RunningText(tokenizer=tokenizer), learnt)
    path = tmp_path / "one.gguf"
    gguf.write(path, "one", gguf_network.network(model), words, SPECIAL_TOKENS, "float32")
    texts = ["and he said unto", chapters[5][:20].strip(), "Blessed are"]
    texts += ["It's  two\n spaces, 12 \u00fc\u2603", "<END> it <START>"] if isinstance(tokenizer, ByteBpe) else []
    prompts = [Prompt(text, tokenizer.tokens(tf.constant(text), learnt, 99).numpy().tolist(), 20) for text in texts]
    result = list(llama_cpp.greedy(path, [(one.asked, one.count) for one in prompts], 48))
    assert [one.read for one in result] == [one.tokens for one in prompts]
    expected = greedy(model, prompts, SPECIAL_TOKENS.never)
    assert [[token for token in one.tokens if token != 3] for one in result] == expected
    assert sum(map(len, expected)) > 20


@needs_engine
def test_characters_without_a_token_are_read_as_unknown_ones_and_never_written(tmp_path):
    tokenizer = Bpe(most=40)
    learnt = tokenizer.learn([b"a text of some words, of a text"], (*SPECIAL, *ENDS))
    words = gguf_vocabulary.vocabulary(RunningText(tokenizer=tokenizer), learnt)
    path, count = tmp_path / "one.gguf", len(learnt.names)
    net = gguf_network.network(drawn("llama", count))
    reader, tensors = written(path, net, "q8_0", words)
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == count + 256
    assert list(tensors["token_embd.weight"].shape) == [32, count + 256]
    rows = library.quants.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    assert (rows[count:] == rows[1]).all()
    result, = llama_cpp.greedy(path, [("a \u00fc", 12)], 48)
    assert result.read[-2:] == [count + 0xC3, count + 0xBC] and max(result.tokens) < count


@needs_engine
def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "one.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ValueError, match=r"llama\.cpp does not open one\.gguf"):
        list(llama_cpp.greedy(tmp_path / "one.gguf", [("a", 1)], 8))


RECIPE = """\
name: one
task: language_model
data:
  source: {{text_lines: {{path: texts, window: {window}}}}}
  tokens: {{tokenizer: {tokenizer}, length: 40}}
  batch: 16
model: {{builder: {builder}, depth: 2, units: 32, heads: 4}}
train: {{epochs: 2, optimizer: adamw, schedule: {{cosine: 0.01}}}}
compress: {{variants: [float32]}}
export: {{targets: [litert, {{gguf: {{weights: [float32, q8_0], tokens: 20}}}}]}}
verify: {{runs: 10}}
gates: {{gguf_float32.greedy_equal: ">= 1"}}
"""


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize(("builder", "tokenizer", "window"), [
    ("llama", "character", 40), ("llama", "{bpe: {most: 300}}", 120)], ids=["character", "bpe"])
def test_a_run_s_file_opens_in_llama_cpp(tmp_path, builder, tokenizer, window):
    (tmp_path / "texts").mkdir()
    chapters = [text for _, _, text in bible.chapters(bible.GOSPELS)]
    (tmp_path / "texts" / "train.txt").write_text("".join(chapters[:8]))
    (tmp_path / "texts" / "test.txt").write_text(chapters[9][:2500])
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(builder=builder, tokenizer=tokenizer, window=window))
    done = command("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "r.json").read_text())
    files = {one["variant"]: one for one in results["compiled"]}
    assert set(files) == {"float32", "q8_0"}
    assert files["float32"]["estimates"]["greedy_equal"] == 1
    assert files["float32"]["estimates"]["tokens_per_second"] > 0
    assert files["q8_0"]["bytes"] < 0.5 * files["float32"]["bytes"]
