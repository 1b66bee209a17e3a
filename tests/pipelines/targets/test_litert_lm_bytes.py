"""What LiteRT-LM's engine makes of byte-level tokens, templates, stops and odd prompts."""
import contextlib
import dataclasses
import itertools
from types import SimpleNamespace

import jinja2
import keras
import pytest

import models
from export.chat.templates import KNOWN
from export.conversion import convert
from export.measure import litert_lm as engine
from export.targets import litert_lm, tools
from export.targets.litert_lm import Sampler
from models.chunks import ChunkedDecoder
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.byte_bpe import ByteBpe
from pipelines.features.tokenizers.tokenizer import ENDS, SPECIAL
from pipelines.targets import chats
from pipelines.targets.held_out_prompts import Prompt, greedy
from pipelines.targets.known_tokens import check_vocabulary
from pipelines.targets.litert_lm import LiteRTLM, _is_same, tokenizer_of
from tests.pipelines.features.tokenizers.odd_strings import real
from tests.pipelines.features.tokenizers.test_byte_bpe import WRITTEN
from tests.pipelines.features.tokenizers.test_pieces import cutter

MANNER = litert_lm.Manner(start=2, stop=3, never=[0, 1, 2, 3], length=64)
needs_engine = pytest.mark.skipif(bool(tools.missing("litert-lm")), reason="LiteRT-LM's engine is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of byte-level tokens, as the engine takes it."""
    learnt = ByteBpe(most=400).learn([text.encode() for text in real(300)], (*SPECIAL, *ENDS))
    keras.utils.set_random_seed(0)
    model = models.build("llama", length=64, vocabulary=len(learnt.names), depth=1, units=32, heads=4, groups=2)
    folder = tmp_path_factory.mktemp("bytes")
    convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), (8,)), folder / "graph")
    inside = folder / "one.tflite"
    inside.write_bytes(convert.convert(folder / "graph", "float32"))
    return SimpleNamespace(learnt=learnt, model=model, inside=inside, folder=folder)


def archive(made, name, **how):
    path = made.folder / f"{name}.litertlm"
    litert_lm.pack(path, made.inside, tokenizer_of(ByteBpe(), made.learnt), dataclasses.replace(MANNER, **how))
    return path


@contextlib.contextmanager
def opened(path):
    from litert_lm import Backend, Engine

    one = Engine(str(path), backend=Backend.CPU(thread_count=1), cache_dir=str(path.parent))
    try:
        yield one
    finally:
        one.close()


def prompt_of(made, text, count):
    return Prompt(text, cutter(ByteBpe(), made.learnt)(text), count)


@pytest.mark.slow
@needs_engine
def test_the_engine_cuts_texts_into_the_same_tokens_and_goes_on_as_keras_does(made):
    path, cut = archive(made, "plain"), cutter(ByteBpe(), made.learnt)
    with opened(path) as one:
        for text in (*WRITTEN, *real(5)):
            assert one.tokenize(text) == cut(text), repr(text)
            assert one.detokenize(cut(text)) == text
    prompts = [prompt_of(made, text, 12) for text in ("So good", "<END> it", " 日本", "x")]
    expected = greedy(made.model, prompts, MANNER.never)
    written = engine.greedy(path, [(prompt.asked, prompt.count) for prompt in prompts])
    for prompt, tokens, result in zip(prompts, expected, written, strict=True):
        assert result.read == prompt.tokens and _is_same(result.parts, tokens, made.learnt)


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize("name", KNOWN)
def test_conversations_are_rendered_by_the_template(made, name):
    message = {"role": "user", "content": "So {{ it }} is?\n"}
    jinja, turns, _ = chats.in_litert_lm(RunningText(), name)
    expected = jinja2.Template(jinja).render(messages=[message], add_generation_prompt=True)
    path = archive(made, name, jinja=jinja, turns=turns, sampler=Sampler(temperature=0))
    with opened(path) as one, one.create_conversation() as conversation:
        assert conversation.render_message_to_string(message["content"]) == expected


@pytest.mark.slow
@needs_engine
def test_what_is_written_ends_before_a_stop(made):
    parts = next(engine.greedy(archive(made, "long"), [("So good", 20)])).parts
    stop = next(one + other for one, other in itertools.pairwise(parts[2:]) if (one + other).isascii())
    path = archive(made, "stopped", stops=["nowhere in it", stop])
    text = "".join(parts)
    assert "".join(next(engine.greedy(path, [("So good", 20)])).parts) == text[:text.index(stop)]


@pytest.mark.slow
@needs_engine
def test_a_prompt_without_room_is_refused_and_an_empty_one_is_not(made):
    path = archive(made, "short")
    with pytest.raises(ValueError, match="LiteRT-LM does not go on with"):
        list(engine.greedy(path, [("x1 " * 100, 3)]))
    result, = engine.greedy(archive(made, "empty"), [("", 3)])
    assert result.read == []


def test_a_template_is_one_that_is_known_or_ones_own():
    chosen = LiteRTLM.read({"litert_lm": {"template": "chatml"}}).template
    jinja, turns, stops = chats.in_litert_lm(RunningText(), chosen)
    assert turns.user.before == "<|im_start|>user\n" and stops == ["<|im_end|>"] and "<|im_start|>" in jinja
    assert chats.in_litert_lm(RunningText(), None) == ("", None, [])
    own = LiteRTLM.read({"litert_lm": {"template": {"user": {"before": "Q: "}}, "stops": ["\n\n"]}})
    assert chats.in_litert_lm(RunningText(), own.template)[1].user.before == "Q: " and own.stops == ["\n\n"]
    with pytest.raises(ValueError, match="template"):
        LiteRTLM.read({"litert_lm": {"template": "chatlm"}})


def test_a_vocabulary_that_the_model_does_not_know_is_refused():
    check_vocabulary(3, Learnt(names=["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"the model knows 2 tokens, and the vocabulary of .* has 3; give the"):
        check_vocabulary(2, Learnt(names=["a", "b", "c"]))
    check_vocabulary(4, Learnt(names=["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"the model knows 4 tokens, and the vocabulary of .* has 3; give the"):
        check_vocabulary(4, Learnt(names=["a", "b", "c"]), exact=True)


def test_the_archive_says_how_it_ends_draws_and_talks():
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    jinja, turns, stops = chats.in_litert_lm(RunningText(), "chatml")
    manner = dataclasses.replace(MANNER, jinja=jinja, turns=turns, stops=["\n\n", *stops],
                                 sampler=Sampler(temperature=0.7, top_k=5, seed=3))
    about = llm_metadata_pb2.LlmMetadata.FromString(litert_lm.metadata(manner))
    assert [one.token_str for one in about.stop_tokens] == ["", "\n\n", "<|im_end|>"]
    assert about.prompt_templates.user.prefix == "<|im_start|>user\n"
    assert about.jinja_prompt_template == jinja
    assert (about.sampler_params.k, about.sampler_params.seed) == (5, 3)
    assert about.sampler_params.type == about.sampler_params.TOP_P
