"""How a language model is talked with: what stands around the turns of a conversation, and how tokens are drawn."""
from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, Field

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
    """How the turns of a conversation become one text.

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
            return f"{_quoted(one.before)}{CONTENT}{_quoted(one.behind)}"

        return ("{% for message in messages %}{% if message['role'] == 'user' %}" + turn(self.user)
                + "{% elif message['role'] == 'system' %}" + turn(self.system) + "{% else %}" + turn(self.model)
                + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + _quoted(self.model.before) + "{% endif %}")


class Sampler(BaseModel, extra="forbid", frozen=True):
    """How an engine draws tokens where an app does not say it.

    Args:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: the likeliest tokens, of which one is drawn.
        top_p: of these, the fewest that have this probability together.
        seed: of what is drawn.
    """

    temperature: float = Field(1.0, ge=0)
    top_k: int = Field(40, ge=1)
    top_p: float = Field(0.95, gt=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)


def _quoted(text: str) -> str:
    """Return Jinja that writes a text as it is: between expressions it would lose line breaks."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""


def _around(before: str, behind: str, names: Mapping[str, str]) -> Template:
    """Return a template whose turns differ in a name alone, which `%` stands for.

    Args:
        names: of the user, the model and the system.
    """
    return Template(**{role: Turn(before=before.replace("%", name), behind=behind) for role, name in names.items()})


#: Templates that are well known, by name.
COMMON: Mapping[str, Template] = {
    "chatml": _around("<|im_start|>%\n", "<|im_end|>\n", {"user": "user", "model": "assistant", "system": "system"}),
    "zephyr": _around("<|%|>\n", "</s>\n", {"user": "user", "model": "assistant", "system": "system"}),
    "llama3": _around("<|start_header_id|>%<|end_header_id|>\n\n", "<|eot_id|>",
                      {"user": "user", "model": "assistant", "system": "system"}),
    "gemma": _around("<start_of_turn>%\n", "<end_of_turn>\n", {"user": "user", "model": "model", "system": "user"}),
    "plain": _around("%: ", "\n", {"user": "User", "model": "Model", "system": "System"}),
}
