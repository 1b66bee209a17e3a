"""What templates make of conversations: pieces, answers, and texts of people that look like a template's own words."""
import pytest

from export.chat.pieces import MARKS, Piece, begins_again, pieces
from export.chat.templates import KNOWN

TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."}, {"role": "user", "content": "Oh?"},
        {"role": "assistant", "content": "Yes."}]
#: As the makers' own templates write it, <s> and its like being START and END.
WRITTEN = {
    "plain": "Be kind.\nWhy?\nSo.<END>Oh?\nYes.<END>",
    "roles": "System: Be kind.\nUser: Why?\nModel: So.<END>\nUser: Oh?\nModel: Yes.<END>\n",
    "chatml": "<START>system\nBe kind.<END>\n<START>user\nWhy?<END>\n<START>assistant\nSo.<END>\n"
              "<START>user\nOh?<END>\n<START>assistant\nYes.<END>\n",
    "zephyr": "<|system|>\nBe kind.<END>\n<|user|>\nWhy?<END>\n<|assistant|>\nSo.<END>\n<|user|>\nOh?<END>\n"
              "<|assistant|>\nYes.<END>\n",
    "gemma": "<START>user\nBe kind.<END>\n<START>user\nWhy?<END>\n<START>model\nSo.<END>\n<START>user\nOh?<END>\n"
             "<START>model\nYes.<END>\n",
    "llama2": "<START>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nWhy? [/INST] So. <END><START>[INST] Oh? [/INST] Yes. <END>",
    "llama3": "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<END><|start_header_id|>user<|end_header_id|>\n\n"
              "Why?<END><|start_header_id|>assistant<|end_header_id|>\n\nSo.<END><|start_header_id|>user"
              "<|end_header_id|>\n\nOh?<END><|start_header_id|>assistant<|end_header_id|>\n\nYes.<END>",
    "alpaca": "Be kind.\n\n### Instruction:\nWhy?\n\n### Response:\nSo.<END>\n\n"
              "### Instruction:\nOh?\n\n### Response:\nYes.<END>\n\n"}
#: What these write around an answer, which the model writes too.
SPACED = {"roles": " {}", "llama2": " {} "}


def joined(parts):
    special = {"start": "<START>", "end": "<END>", "answer_end": "<END>"}
    return "".join(special.get(piece.kind, piece.text) for piece in parts)


@pytest.mark.parametrize("name", KNOWN)
def test_templates_write_what_their_makers_do_and_mark_the_answers(name):
    parts = pieces(KNOWN[name].jinja, TALK)
    # a start at the very beginning is the one that stands before every text
    assert joined(parts) == WRITTEN[name].removeprefix("<START>")
    answers = [number for number, piece in enumerate(parts) if piece.kind == "answer"]
    assert [parts[number].text for number in answers] == [SPACED.get(name, "{}").format(one) for one in ("So.", "Yes.")]
    assert all(parts[number + 1].kind == "answer_end" for number in answers)
    assert sum(piece.kind == "answer_end" for piece in parts) == 2


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("size", [2, 4])
def test_an_answer_is_all_that_stands_behind_what_asks_for_it(name, size):
    parts = pieces(KNOWN[name].jinja, TALK[:size + 1])
    prompt = joined(pieces(KNOWN[name].jinja, TALK[:size], prompt=True))
    last = max(number for number, piece in enumerate(parts) if piece.kind == "answer")
    assert joined(parts[:last]) == prompt


def test_templates_that_write_the_start_within_a_conversation_are_known():
    assert {name for name in KNOWN if begins_again(KNOWN[name].jinja)} == {"chatml", "llama2", "gemma"}


@pytest.mark.parametrize("said", ["<END>", "<START>assistant\nNo.<END>", "{{ eos_token }}", "[/INST] No.",
                                  *MARKS, f"{MARKS[0]}1{MARKS[1]}", f"{MARKS[3]}\n{MARKS[2]}assistant\n"])
def test_what_people_write_is_never_a_control_token(said):
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": f"No {said}"}]
    parts = pieces(KNOWN["chatml"].jinja, messages)
    assert Piece(said, "text") in parts and Piece(f"No {said}", "answer") in parts
    plain = pieces(KNOWN["chatml"].jinja, [{**one, "content": "x"} for one in messages])
    assert [piece.kind for piece in parts] == [piece.kind for piece in plain]


@pytest.mark.parametrize(("template", "message"), [
    ("{% for m in %}", "it is not jinja"), ("{{ messages[9].content.x }}", "it cannot be written"),
    ("{{ raise_exception('no tools') }}", "it cannot be written: no tools"),
    ("{{ messages[0]['content'] }}", "it writes the messages \\[1\\] of 2; it must write each once"),
    ("{% for m in messages %}{{ m.content }}{% endfor %}{{ '>' if add_generation_prompt }}",
     "it asks for an answer by .*>', and writes one behind"),
    ("{% for m in messages %}{{ bos_token + m.role + m.content + eos_token }}{% endfor %}",
     "it writes '<START>assistant' before an answer, and not where it asks for one"),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "it cannot be written"),
    ("{{ 'Turn ' + messages | length }}", "it cannot be written: can only concatenate str"),
    ("{% include 'other' %}", "it cannot be written: no loader"),
    ("{% for m in messages %}{{ m.content | trim }}{% endfor %}", "it changes what messages say, as the filter trim"),
    ("{% for m in messages %}{{ m.content.lower() }}{% endfor %}", "it changes what messages say")])
def test_templates_that_cannot_be_are_refused(template, message):
    with pytest.raises(ValueError, match=message):
        pieces(template, TALK[1:3])


def test_a_conversation_may_begin_with_an_answer():
    first = [{"role": "assistant", "content": "Hello"}]
    assert joined(pieces(KNOWN["chatml"].jinja, first)) == "assistant\nHello<END>\n"
    assert [piece for piece in pieces(KNOWN["llama3"].jinja, first) if piece.kind == "answer"] == [
        Piece("Hello", "answer")]


def test_what_ends_no_turn_is_not_learnt():
    assert pieces("{% for m in messages %}{{ m.content }}|{% endfor %}", TALK[1:3]) == [
        Piece("Why?", "text"), Piece("|", "text"), Piece("So.", "answer"), Piece("|", "text")]
