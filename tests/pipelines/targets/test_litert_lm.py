"""Files for LiteRT-LM: their archive, what is refused, and a whole run whose file the engine itself goes on with."""
import json
from types import SimpleNamespace

import pytest

import models
from export.conversion import convert
from export.measure import litert_lm as engine
from export.targets import litert_lm, tools
from export.tflite.chunked import model_of
from models.chunks import ChunkedDecoder
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers.character import Character
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.ingest.sources import bible
from pipelines.targets import sentencepiece_model
from pipelines.targets.held_out_prompts import greedy, text_of
from pipelines.targets.litert_lm import LiteRTLM, _is_same
from pipelines.variants.variant import Variant
from tests.conftest import run_here

RECIPE = """\
name: one
task: language_model
data:
  source: {{text_lines: {{path: texts, window: {window}}}}}
  tokens: {{tokenizer: {tokenizer}, length: 40}}
  batch: 16
model: {{builder: {builder}, depth: 2, units: 32, heads: 4}}
train: {{epochs: 2, optimizer: adamw, schedule: {{cosine: 0.01}}}}
compress: {{variants: [float32, dynamic]}}
export: {{targets: [litert, {{litert_lm: {{prefill: [4, 16], tokens: 20}}}}]}}
verify: {{runs: 10}}
gates:
  litert_lm_float32.greedy_equal: ">= 1"
  litert_lm_float32.max_error: "<= 1e-4"
  litert_lm_dynamic.drop: "<= 0.01"
  litert_lm_dynamic.size_ratio: "<= 1.5"
"""
MANNER = litert_lm.Manner(start=2, stop=3, never=[0, 1, 2, 3], length=32)
needs_engine = pytest.mark.skipif(bool(tools.missing("litert-lm")), reason="LiteRT-LM's engine is not installed")


def read(target):
    return LiteRTLM.read(target)


def variants(*names):
    return [Variant.read(name) for name in names]


def test_the_trained_model_itself_is_taken_in_numbers_that_the_engine_runs():
    known = variants("float32", "int8", "dynamic", "float16")
    assert read("litert_lm").chosen(known) == ["float32", "dynamic"]
    assert read({"litert_lm": ["float16"]}).chosen(known) == ["float16"]
    with pytest.raises(ValueError, match="and int8 is made in another way; name float32 or dynamic"):
        read({"litert_lm": ["int8"]}).chosen(known)
    with pytest.raises(ValueError, match=r"name such a variant in compress\.variants"):
        read("litert_lm").chosen(variants("int8"))


def test_without_the_engine_files_are_made_and_without_the_builder_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None if name == "litert_lm" else object())
    assert LiteRTLM.ready() == ""
    assert tools.missing("litert-lm") == (
        "litert-lm-api is not installed; .venv/bin/pip install -e '.[litert-lm]' brings it")
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    assert LiteRTLM.ready().startswith("litert-lm-builder, sentencepiece are not installed")


def test_other_tasks_are_refused():
    data = SimpleNamespace(task=SimpleNamespace(entry_name="translation"), features={})
    with pytest.raises(ValueError, match="and this is translation; leave the target litert_lm out"):
        text_of(data, "litert_lm", "LiteRT-LM")


def test_what_the_engine_writes_is_the_same_token_for_token_but_for_the_first_space():
    learnt = Learnt(names=["\u2581the", "the", "\u2581", ","])
    assert _is_same([" the", ","], [0, 3], learnt) and _is_same(["the", " the"], [0, 0], learnt)
    assert not _is_same(["the", "the"], [0, 0], learnt) and not _is_same(["the", ",", ","], [0, 3], learnt)
    in_bytes = Learnt(names=["Ġthe", "Ã", "©", "x"], statistics={"left": [], "right": []})
    assert _is_same([" the", "é"], [0, 1, 2], in_bytes) and not _is_same(["the", "é"], [0, 1, 2], in_bytes)
    assert _is_same(["x"], [3, 1], in_bytes) and not _is_same(["x", "x"], [3, 1], in_bytes)
    assert _is_same([], [], learnt) and not _is_same([","], [], learnt) and not _is_same([], [3], learnt)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A model of characters, its vocabulary, and the archive of it; some tokens are never written."""
    learnt = Character().learn([text.encode() for _, _, text in bible.chapters(bible.GOSPELS)][:2], (*SPECIAL, *ENDS))
    model = models.build("llama", length=32, vocabulary=len(learnt.names), depth=1, units=16, heads=4, groups=2)
    folder = tmp_path_factory.mktemp("archive")
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8,)), folder / "graph")
    (folder / "one.tflite").write_bytes(convert.convert(folder / "graph", "float32"))
    tokenizer = litert_lm.Tokenizer("sentencepiece", sentencepiece_model.written(Character(), learnt))
    litert_lm.pack(folder / "one.litertlm", folder / "one.tflite", tokenizer, MANNER)
    return SimpleNamespace(model=model, learnt=learnt, path=folder / "one.litertlm", inside=folder / "one.tflite")


def test_an_archive_holds_the_file_the_tokenizer_and_what_the_engine_must_know(archive, tmp_path):
    from litert_lm_builder import litertlm_builder
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    assert model_of(archive.path) == archive.inside.read_bytes()
    litertlm_builder.unpack(str(archive.path), str(tmp_path))
    text = next(tmp_path.glob("*.pbtext")).read_text()
    from google.protobuf import text_format

    about = text_format.Parse(text, llm_metadata_pb2.LlmMetadata())
    assert list(about.start_token.token_ids.ids) == [2] and [list(one.token_ids.ids) for one in about.stop_tokens] == [
        [3]]
    assert about.max_num_tokens == 32 and list(about.suppress_tokens.ids) == [0, 1, 2, 3]
    assert about.llm_model_type.WhichOneof("model_type") == "generic_model"


@pytest.mark.slow
@needs_engine
def test_the_engine_never_writes_what_is_barred(archive, tmp_path):
    """A model that answers each token with the start of a text: its second choice is written."""
    text = "and he said"
    numbers = [archive.learnt.names.index(letter) for letter in text]
    prompt = SimpleNamespace(text=text, tokens=numbers, count=15)
    likeliest = greedy(archive.model, [prompt], [])[0][0]
    logits = archive.model.get_layer("logits")
    kernel = logits.get_weights()[0]
    kernel[:, 2] = 2 * kernel[:, likeliest]
    logits.set_weights([kernel])
    convert.float_graph(archive.model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8,)), tmp_path / "graph")
    (tmp_path / "two.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    tokenizer = litert_lm.Tokenizer("sentencepiece", sentencepiece_model.written(Character(), archive.learnt))
    litert_lm.pack(tmp_path / "two.litertlm", tmp_path / "two.tflite", tokenizer, MANNER)
    expected, free = (greedy(archive.model, [prompt], never)[0] for never in ([0, 1, 2, 3], []))
    assert 2 in free and 2 not in expected
    result, = engine.greedy(tmp_path / "two.litertlm", [(text, 15)])
    assert result.parts == [archive.learnt.names[token] for token in expected] and result.tokens_per_second > 0


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize(("builder", "tokenizer", "window"), [
    ("llama", "character", 40), ("gpt", "{bpe: {most: 300}}", 120), ("gpt", "{byte_bpe: 400}", 80)],
    ids=["llama-character", "gpt-bpe", "gpt-byte_bpe"])
def test_the_engine_goes_on_as_keras_does_with_held_out_texts(tmp_path, builder, tokenizer, window):
    (tmp_path / "texts").mkdir()
    chapters = [text for _, _, text in bible.chapters(bible.GOSPELS)]
    (tmp_path / "texts" / "train.txt").write_text("".join(chapters[:8]))
    (tmp_path / "texts" / "test.txt").write_text(chapters[9][:2500])
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(builder=builder, tokenizer=tokenizer, window=window))
    done = run_here("run", "recipe.yaml", "--no-track", "--json", "r.json", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    results = json.loads((tmp_path / "r.json").read_text())
    files = {(one["target"], one["variant"]): one for one in results["artifacts"]}
    assert set(files) == {(target, variant) for target in ("litert", "litert_lm") for variant in ("float32", "dynamic")}
    whole, chunked = files["litert", "float32"]["metrics"], files["litert_lm", "float32"]["metrics"]
    assert chunked["perplexity"] == pytest.approx(whole["perplexity"], rel=1e-5)
    assert "texts as Keras does" in done.out
    assert files["litert_lm", "float32"]["estimates"]["tokens_per_second"] > 0
    run = tmp_path / "runs" / "one" / "latest"
    said = [run_here("generate", run / path, "--prompt", "And he", "--tokens", "12", cwd=tmp_path) for path in (
        "export/litert/float32.tflite", "export/litert_lm/float32.tflite", "export/litert_lm/float32.litertlm", "")]
    assert {one.code for one in said} == {0} and len({one.out for one in said}) == 1, said
    assert len(said[0].out) > 1 and not said[0].out.lower().startswith("and he")
    long = run_here("generate", run / "export/litert_lm/float32.tflite", "--prompt", "and he " * 20, cwd=tmp_path)
    assert long.code == 2 and "tokens, and" in long.err and "give a shorter one" in long.err
