"""Templates of conversations, by the library that templates are written for."""
import jinja2
import pytest
from pydantic import ValidationError

from export.targets.chat import COMMON, Sampler, Template, Turn
from export.targets.litert_lm import Manner, metadata

MESSAGES = [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "So {{ it }} is?"}, {"type": "text", "text": "\n"}]},
            {"role": "assistant", "content": "It is."}, {"role": "user", "content": "Why\\n?"}]


def rendered(template, messages=MESSAGES, **settings):
    return jinja2.Template(template.jinja()).render(messages=messages, add_generation_prompt=True, **settings)


def test_chatml_is_written_as_it_is_known():
    assert rendered(COMMON["chatml"]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSo {{ it }} is?\n<|im_end|>\n"
        "<|im_start|>assistant\nIt is.<|im_end|>\n<|im_start|>user\nWhy\\n?<|im_end|>\n<|im_start|>assistant\n")
    assert COMMON["chatml"].stops == ["<|im_end|>"]


@pytest.mark.parametrize("name", COMMON)
def test_every_turn_stands_between_its_texts(name):
    template = COMMON[name]
    for role, turn in (("system", template.system), ("user", template.user), ("assistant", template.model)):
        message = [{"role": role, "content": "x"}]
        assert rendered(template, message) == f"{turn.before}x{turn.behind}{template.model.before}"


def test_texts_of_ones_own_come_as_they_are():
    own = Template(user=Turn(before='"{% Q %}" \\ \t', behind="\n\n"), model=Turn(before="A: ", behind=" \n"))
    assert rendered(own, [{"role": "user", "content": "x"}]) == '"{% Q %}" \\ \tx\n\nA: '
    assert rendered(Template(), [{"role": "user", "content": "x"}]) == "x"


def test_a_model_stops_where_the_turns_of_others_begin_if_only_white_space_ends_its_own():
    assert COMMON["plain"].stops == ["User:", "System:"]
    blank = Turn(before="A: ", behind=" \n")
    assert Template(user=Turn(before="Q: "), model=blank).stops == ["Q:"]
    assert Template(user=Turn(before="A:"), model=blank).stops == []  # as its own: it would never begin
    assert Template().stops == []
    assert COMMON["llama3"].stops == ["<|eot_id|>"]


def test_stops_of_the_template_are_in_the_metadata():
    pb2 = pytest.importorskip("litert_lm_builder.runtime.proto.llm_metadata_pb2")
    about = pb2.LlmMetadata.FromString(metadata(Manner(2, 3, [0, 1], 8, ["User:", "END"], COMMON["plain"])))
    assert [stop.token_str for stop in about.stop_tokens][1:] == ["User:", "END", "System:"]


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Template.model_validate({"assistant": {"before": "A"}})
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Sampler(top_p=1.5)
