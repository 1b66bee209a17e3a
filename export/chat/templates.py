"""How the turns of a conversation become one text: the templates that are well known, by name, and texts of one's
own around turns. All are jinja of the kind that model makers publish."""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel

#: Who speaks: `assistant` is who learns to.
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)
#: Jinja's expression of what a message says: a text, or parts of which some are texts.
CONTENT = ("{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
           "{{ part['text'] }}{% endfor %}{% endif %}")


class Turn(BaseModel, extra="forbid", frozen=True):
    """What stands before and behind a turn.

    Args:
        before, behind: texts.
    """

    before: str = ""
    behind: str = ""


class Template(BaseModel, extra="forbid", frozen=True):
    """What stands around the turns of a conversation, in texts of one's own.

    Args:
        user, model, system: what stands around their turns. The model writes until what is behind its turn.
    """

    user: Turn = Turn()
    model: Turn = Turn()
    system: Turn = Turn()

    @property
    def stops(self) -> list[str]:
        """Return what ends a turn of the model, without white space around it.

        Where that is white space alone, it is how the turns of the others begin: the model would go on with them.
        """
        if behind := self.model.behind.strip():
            return [behind]
        others = dict.fromkeys(turn.before.strip() for turn in (self.user, self.system))
        return [before for before in others if before and before != self.model.before.strip()]

    def jinja(self) -> str:
        """Return the template as Jinja has it, over `messages`, each with a `role` and its `content`."""
        def turn(one: Turn) -> str:
            return f"{quoted(one.before)}{CONTENT}{quoted(one.behind)}"

        return ("{% for message in messages %}{% if message['role'] == 'user' %}" + turn(self.user)
                + "{% elif message['role'] == 'system' %}" + turn(self.system) + "{% else %}" + turn(self.model)
                + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + quoted(self.model.before) + "{% endif %}")


def quoted(text: str) -> str:
    """Return Jinja that writes a text as it is: between expressions it would lose line breaks."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""


class Known(NamedTuple):
    """A template that is well known.

    Args:
        jinja: over `messages`, `bos_token`, `eos_token` and `add_generation_prompt`. Where its maker has tokens of its
            own, such as <s>, <|im_start|> or <|eot_id|>, there stand the two that every vocabulary has, `bos_token` and
            `eos_token`; all else is text.
        start, end: the maker's own words for these, for models that have learnt none of them as tokens.
    """

    jinja: str
    start: str = ""
    end: str = ""


def _turns(before: str, behind: str, names: str = "message['role']", last: str = "assistant") -> str:
    """Return a template whose turns differ in a name alone, which `%` stands for.

    Args:
        before, behind: expressions of jinja.
        names: an expression of the name of a message.
        last: the name of who answers.
    """
    asked = before.replace("%", f"'{last}'")
    return ("{% for message in messages %}{{ " + before.replace("%", names) + " + message['content'] + " + behind
            + " }}{% endfor %}{% if add_generation_prompt %}{{ " + asked + " }}{% endif %}")


Name = Literal["plain", "roles", "chatml", "zephyr", "gemma", "llama2", "llama3", "alpaca"]
KNOWN: Mapping[str, Known] = {
    "plain": Known("{% for message in messages %}{{ message['content'] }}"
                   "{{ eos_token if message['role'] == 'assistant' else '\\n' }}{% endfor %}"),
    "roles": Known("{% for message in messages %}{% if message['role'] == 'assistant' %}"
                   "{{ 'Model: ' + message['content'] + eos_token + '\\n' }}{% else %}"
                   "{{ ('User: ' if message['role'] == 'user' else 'System: ') + message['content'] + '\\n' }}"
                   "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Model:' }}{% endif %}"),
    "chatml": Known(_turns("bos_token + % + '\\n'", "eos_token + '\\n'"), "<|im_start|>", "<|im_end|>"),
    "zephyr": Known(_turns("'<|' + % + '|>\\n'", "eos_token + '\\n'"), "<s>", "</s>"),
    "gemma": Known(_turns("bos_token + % + '\\n'", "eos_token + '\\n'",
                          "('model' if message['role'] == 'assistant' else 'user')", "model"),
                   "<start_of_turn>", "<end_of_turn>"),
    "llama2": Known("{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
                    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
                    "{% set messages = messages[1:] %}{% endif %}{% for message in messages %}"
                    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + "
                    "message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}"
                    "{% endif %}{% endfor %}", "<s>", "</s>"),
    "llama3": Known(_turns("'<|start_header_id|>' + % + '<|end_header_id|>\\n\\n'", "eos_token"),
                    "<|begin_of_text|>", "<|eot_id|>"),
    "alpaca": Known("{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + "
                    "message['content'] + '\\n\\n### Response:\\n' }}{% elif message['role'] == 'system' %}"
                    "{{ message['content'] + '\\n\\n' }}{% else %}{{ message['content'] + eos_token + '\\n\\n' }}"
                    "{% endif %}{% endfor %}")}
