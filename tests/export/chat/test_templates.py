"""Templates of conversations, by the library that templates are written for."""
from typing import get_args

import jinja2
import pytest
from pydantic import ValidationError

from export.chat import engines
from export.chat.templates import KNOWN, Name, Template, Turn
from export.targets.litert_lm import Manner, Sampler, metadata

MESSAGES = [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "So {{ it }} is?"}, {"type": "text", "text": "\n"}]},
            {"role": "assistant", "content": "It is."}, {"role": "user", "content": "Why\\n?"}]
#: Those that write each turn by itself.
BY_TURNS = [name for name in KNOWN if name != "llama2"]


def in_texts(name):
    known = KNOWN[name]
    return engines.with_texts(known.jinja, known.start, known.end)


def around(name):
    known = KNOWN[name]
    return engines.turns(known.jinja, start=known.start, end=known.end)


def rendered(template, messages=MESSAGES, **settings):
    return jinja2.Template(template).render(messages=messages, add_generation_prompt=True, **settings)


def test_every_template_has_a_name_that_recipes_may_give():
    assert set(KNOWN) == set(get_args(Name))


def test_chatml_is_written_as_it_is_known():
    assert rendered(in_texts("chatml")) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSo {{ it }} is?\n<|im_end|>\n"
        "<|im_start|>assistant\nIt is.<|im_end|>\n<|im_start|>user\nWhy\\n?<|im_end|>\n<|im_start|>assistant\n")
    assert around("chatml").stops == ["<|im_end|>"]


@pytest.mark.parametrize("name", BY_TURNS)
def test_every_turn_stands_between_its_texts(name):
    template = around(name)
    for role, turn in (("system", template.system), ("user", template.user)):
        message = [{"role": role, "content": "x"}]
        assert rendered(in_texts(name), message) == f"{turn.before}x{turn.behind}{template.model.before}"
    said = rendered(in_texts(name), [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])
    user = f"{template.user.before}x{template.user.behind}{template.model.before}"
    assert said.startswith(user) and said[len(user):].lstrip().startswith(f"y{template.model.behind}")


def test_texts_of_ones_own_come_as_they_are():
    own = Template(user=Turn(before='"{% Q %}" \\ \t', behind="\n\n"), model=Turn(before="A: ", behind=" \n"))
    assert rendered(own.jinja(), [{"role": "user", "content": "x"}]) == '"{% Q %}" \\ \tx\n\nA: '
    assert rendered(Template().jinja(), [{"role": "user", "content": "x"}]) == "x"


def test_a_model_stops_where_the_turns_of_others_begin_if_only_white_space_ends_its_own():
    assert around("roles").stops == ["User:", "System:"] and around("plain").stops == []
    blank = Turn(before="A: ", behind=" \n")
    assert Template(user=Turn(before="Q: "), model=blank).stops == ["Q:"]
    assert Template(user=Turn(before="A:"), model=blank).stops == []  # as its own: it would never begin
    assert Template().stops == []
    assert around("llama3").stops == ["<|eot_id|>"] and around("llama2").stops == ["</s>"]


def test_stops_are_in_the_metadata_once():
    pb2 = pytest.importorskip("litert_lm_builder.runtime.proto.llm_metadata_pb2")
    manner = Manner(2, 3, [0, 1], 8, ["User:", "END", *around("roles").stops], in_texts("roles"), around("roles"))
    about = pb2.LlmMetadata.FromString(metadata(manner))
    assert [stop.token_str for stop in about.stop_tokens][1:] == ["User:", "END", "System:"]


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Template.model_validate({"assistant": {"before": "A"}})
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Sampler(top_p=1.5)
