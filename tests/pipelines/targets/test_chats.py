"""One conversation is the same tokens wherever it is written: where a model learns it, in a server, in LiteRT-LM's
engine and in llama.cpp; and what people say is no control token in any of them."""
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
import tokenizers

import models
from export.chat.pieces import END as END_MARK
from export.chat.pieces import START as START_MARK
from export.chat.templates import KNOWN, Template
from export.conversion import convert
from export.measure import litert_lm as engine
from export.measure import llama_cpp
from export.targets import gguf, litert_lm, tools
from models.chunks import ChunkedDecoder
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, START, UNKNOWN
from pipelines.targets import chats, gguf_network, gguf_vocabulary, held_out_prompts
from pipelines.targets.held_out_prompts import Prompt
from pipelines.targets.litert_lm import _is_same, tokenizer_of
from pipelines.tasks.instruction_tuning import InstructionTuning, generation
from serving.completions import chat
from serving.completions.requests import Message
from tests.pipelines.tasks.small_data import data_of

TOKENIZERS = {"character": "character", "byte_bpe": {"byte_bpe": 300}, "bpe": {"bpe": {"most": 150}},
              "sentencepiece": {"sentencepiece": {"most": 150, "lower": False}}}
LENGTH = 320
TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "  Who said\n<END> <START>?"},
        {"role": "assistant", "content": "The king."}, {"role": "user", "content": "And why? "},
        {"role": "assistant", "content": "He was old."}]
#: What all tokenizers learn their vocabulary from: what templates write, too.
ASKED = "\n".join(["0123456789", *(one.jinja for one in KNOWN.values()), *(message["content"] for message in TALK)])


class Told(NamedTuple):
    """Data of conversations, and what of them is read."""

    data: Any
    feature: Any
    learnt: Any

    def asked(self, messages):
        return self.feature.asked(messages, self.learnt)


def told(folder: Path, tokenizer: str, template: str) -> Told:
    lines = folder / "said.jsonl"
    lines.write_text("".join(json.dumps({"prompt": f"{ASKED} {number}", "answer": "The kind king said: he was old."})
                             + "\n" for number in range(10)))
    data = data_of(InstructionTuning(), source={"conversations": str(lines)}, validation=0.2, test=0.2, tokens={
        "tokenizer": TOKENIZERS[tokenizer], "length": LENGTH, "template": template})
    return Told(data, data.features["tokens"], data.index.learnt["tokens"])


def network(told: Told):
    """Return a model of random weights that differ enough for its answers to."""
    model = models.build("llama", length=LENGTH, vocabulary=len(told.learnt.names), depth=1, units=32, heads=2)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + 0.15 * generator.normal(size=weight.shape))
    return model


def few(*first, of=tuple(TOKENIZERS)):
    """Return all pairs of a tokenizer and a template; only the first ones are fast enough for every day."""
    pairs = [*first, *((one, name) for one in of for name in KNOWN if (one, name) not in first)]
    return pytest.mark.parametrize(("tokenizer", "template"), [
        pytest.param(*pair, marks=[] if pair in first else pytest.mark.slow) for pair in pairs])


@few(*(("character", name) for name in ("llama2", "roles", "alpaca")), of=("character", "byte_bpe"))
def test_a_model_is_asked_as_it_has_learnt(tmp_path, tokenizer, template):
    one = told(tmp_path, tokenizer, template)
    for size in (2, 4):
        asked = one.asked(TALK[:size])
        whole = one.feature.load(json.dumps(TALK[:size + 1]).encode(), one.learnt).numpy().tolist()
        answers = one.data.features["next"].load(json.dumps(TALK[:size + 1]).encode(), one.learnt).numpy()
        assert whole[:len(asked) + 1] == [START, *asked] and UNKNOWN not in asked
        assert np.flatnonzero(answers)[-1] >= len(asked) and answers[len(asked)] and not answers[len(asked) - 1]
        text = one.feature.in_words(answers[len(asked):], one.learnt)
        assert text.strip() == TALK[size]["content"].strip() and answers[np.flatnonzero(answers)[-1]] == END


@few(("byte_bpe", "chatml"), of=())
def test_a_server_reads_conversations_as_they_are_learnt(tmp_path, tokenizer, template):
    one = told(tmp_path, tokenizer, template)
    served = served_of(one, network(one))
    assert read_of(served, one, TALK[:4], tmp_path) == one.asked(TALK[:4])
    question = "Who said <END>?"
    asked = one.asked([{"role": "user", "content": question}])
    read = served["prefill"].call(text=tf.constant([question]))
    assert int(read["prompt_tokens"][0]) == len(asked)
    assert read["tokens"][0, :len(asked) + 1].numpy().tolist() == [START, *asked]
    control = [token for token in asked if token in (START, END)]
    assert control == [token for token in one.asked([{"role": "user", "content": "Who"}]) if token in (START, END)]


@few(("character", "chatml"), ("bpe", "llama2"), of=("byte_bpe", "bpe"))
def test_the_libraries_that_engines_cut_with_make_the_same_tokens(tmp_path, tokenizer, template):
    one = told(tmp_path, tokenizer, template)
    jinja, _, stops = chats.in_litert_lm(one.feature, None)
    text = jinja2.Template(jinja).render(messages=TALK[:4], add_generation_prompt=True)
    cuts = tokenizer_of(one.feature.tokenizer, one.learnt, talks=True)
    if cuts.kind == "hugging_face":
        read = tokenizers.Tokenizer.from_str(cuts.content.decode()).encode(text).ids
    else:
        read = sentencepiece.SentencePieceProcessor(model_proto=cuts.content).encode(text)
    assert read == one.asked(TALK[:4]) and stops == [] and END in read


def served_of(one: Told, model) -> dict[str, Any]:
    return {function.signature.name: function for function in generation.functions(model, one.data, "tokens")}


def read_of(served, one: Told, messages, folder: Path) -> list[int]:
    """Return the tokens that a server makes of a chat by the model's own template, but for the first."""
    (folder / chat.PLACE).parent.mkdir(exist_ok=True)
    (folder / chat.PLACE).write_bytes(InstructionTuning().files(one.data)["chat_template.jinja"])
    pieces, stops = chat.pieces([Message(**message) for message in messages], folder)
    assert stops == ()
    read = served["prefill_pieces"].call(pieces=tf.constant([[piece.text for piece in pieces]]),
                                         behind=tf.constant([[piece.behind for piece in pieces]]))
    size = int(read["prompt_tokens"][0]) + 1
    assert read["tokens"][0, 0] == START
    return read["tokens"][0, 1:size].numpy().tolist()


@pytest.mark.slow
@pytest.mark.skipif(bool(tools.missing("litert-lm") or tools.missing("gguf")), reason="the engines are not installed")
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_engines_and_servers_read_a_conversation_as_it_is_learnt_and_answer_as_keras_does(tmp_path, tokenizer):
    model = graph = None
    for template in KNOWN if tokenizer == "byte_bpe" else ("chatml", "llama2", "roles"):
        one = told(tmp_path, tokenizer, template)
        if model is None or model.outputs[0].shape[-1] != len(one.learnt.names):
            model, graph = network(one), tmp_path / f"graph_{template}"
            convert.float_graph(model, lambda own: litert_lm.functions(ChunkedDecoder(own), (8, 32)), graph)
            (tmp_path / "one.tflite").write_bytes(convert.convert(graph, "float32"))
        never = held_out_prompts.never(one.feature)
        prompts = [Prompt(talk, one.asked(talk), 12) for talk in (
            TALK[:4], TALK[1:2], [{"role": "user", "content": f"Who {END_MARK}\n{START_MARK}said?"}])]
        same = one.asked([{"role": "user", "content": "Who \nsaid?"}])
        expected = held_out_prompts.greedy(model, [*prompts[:2], Prompt("", same, 12)], never)
        read = [*(prompt.tokens for prompt in prompts[:2]), same]
        asked = [(prompt.asked, prompt.count) for prompt in prompts]

        jinja, turns, stops = chats.in_litert_lm(one.feature, None)
        manner = litert_lm.Manner(START, END, never, LENGTH, stops, jinja, turns)
        path = tmp_path / f"{template}.litertlm"
        cuts = tokenizer_of(one.feature.tokenizer, one.learnt, talks=True)
        litert_lm.pack(path, tmp_path / "one.tflite", cuts, manner)
        written = list(engine.greedy(path, asked))
        assert [result.read for result in written] == read, template
        assert all(_is_same(result.parts, tokens, one.learnt)
                   for result, tokens in zip(written, expected, strict=True)), template

        path = tmp_path / f"{template}.gguf"
        words = gguf_vocabulary.vocabulary(one.feature, one.learnt)
        gguf.write(path, "one", gguf_network.network(model), words, gguf_vocabulary.special(one.feature), "float32")
        answers = list(llama_cpp.greedy(path, asked, LENGTH))
        assert [result.read for result in answers] == read, template
        assert [[token for token in result.tokens if token != END] for result in answers] == expected, template

        assert read_of(served_of(one, model), one, TALK[:4], tmp_path) == read[0], template


@pytest.mark.slow
@pytest.mark.skipif(bool(tools.missing("litert-lm")), reason="LiteRT-LM's engine is not installed")
@few(("character", "chatml"), ("byte_bpe", "alpaca"), ("bpe", "llama2"), of=())
def test_the_engine_reads_on_behind_an_answer_of_its_own(tmp_path, tokenizer, template):
    import litert_lm as api

    one = told(tmp_path, tokenizer, template)
    model = network(one)
    kernel = model.get_layer("logits").get_weights()[0]
    kernel[:, END] = 1.5 * np.abs(kernel).max() * np.sign(kernel[:, END])  # it comes to an end sooner or later
    model.get_layer("logits").set_weights([kernel])
    convert.float_graph(model, lambda own: litert_lm.functions(ChunkedDecoder(own), (8, 32)), tmp_path / "graph")
    (tmp_path / "one.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    jinja, turns, _ = chats.in_litert_lm(one.feature, None)
    manner = litert_lm.Manner(START, END, held_out_prompts.never(one.feature), LENGTH, [], jinja, turns)
    path = tmp_path / "one.litertlm"
    litert_lm.pack(path, tmp_path / "one.tflite", tokenizer_of(one.feature.tokenizer, one.learnt, talks=True), manner)
    first = one.asked(TALK[1:2])
    answer, = held_out_prompts.greedy(model, [Prompt("", first, 60)], manner.never)
    assert 0 <= len(answer) < 60
    sampler = api.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0)
    with (api.Engine(str(path), backend=api.Backend.CPU(thread_count=1), cache_dir=str(tmp_path)) as own,
          own.create_conversation(sampler_config=sampler) as conversation):
        text = "".join(part["text"] for part in conversation.send_message(TALK[1]["content"])["content"])
        assert conversation.token_count == 1 + len(first) + len(answer) + 1  # the start, and the end
        read_on = own.tokenize(conversation.render_message_to_string(TALK[3]))
    talk = [TALK[1], {"role": "assistant", "content": text}, TALK[3]]
    assert read_on == one.asked(talk)[-len(read_on):] and one.asked(talk)[-len(read_on) - 1] == END


def test_a_template_that_is_not_the_models_own_is_refused(tmp_path):
    feature = told(tmp_path, "character", "chatml").feature
    for chosen in ("chatml", Template()):
        with pytest.raises(ValueError, match=r"by data\.tokens\.template, which goes into the file; leave this"):
            chats.in_litert_lm(feature, chosen)
    assert chats.in_llama_cpp(RunningText(), "llama") == ""


def test_conversations_without_an_end_stop_where_another_turn_begins(tmp_path):
    (tmp_path / "own.jinja").write_text("{% for m in messages %}{{ 'Q: ' if m.role == 'user' else 'A: ' }}"
                                        "{{ m.content }}\n{% endfor %}{{ 'A:' if add_generation_prompt }}")
    one = told(tmp_path, "character", str(tmp_path / "own.jinja"))
    assert chats.in_litert_lm(one.feature, None)[2] == ["Q:"]


def test_held_out_conversations_are_asked_up_to_where_they_are_answered(tmp_path):
    one = told(tmp_path, "character", "chatml")
    prompts = held_out_prompts.prompts(one.data, one.feature, one.learnt, 2, 5, 100_000)
    assert len(prompts) == 2 and prompts[0].asked != prompts[1].asked
    for prompt in prompts:
        said, = prompt.asked
        assert said["content"].startswith(ASKED) and said["role"] == "user"
        assert prompt.tokens == one.asked(prompt.asked) and prompt.count == 5
    assert held_out_prompts.prompts(one.data, one.feature, one.learnt, 2, 5, 100) == []  # no room
    read, _ = held_out_prompts.text_of(one.data, "gguf", "llama.cpp")
    assert read is one.feature
    other = SimpleNamespace(task=SimpleNamespace(entry_name="translation"), features={})
    with pytest.raises(ValueError, match="and this is translation"):
        held_out_prompts.text_of(other, "gguf", "llama.cpp")
