"""What engines are told of conversations: the template that a model has learnt by, as each of them takes it."""
from __future__ import annotations

from export.chat import engines
from export.chat.engines import AS_THEY_ARE, Spaces
from export.chat.templates import KNOWN, Name, Template
from pipelines.features.conversation import Conversation
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.sentencepiece import InPieces


def in_litert_lm(read: RunningText, chosen: Name | Template | None) -> tuple[str, Template | None, list[str]]:
    """Return the template of a file for LiteRT-LM, what of it stands around turns, and the texts that end an answer.

    Args:
        chosen: by the target, where the model has learnt no conversations: the name of a template that is well known,
            or texts.

    Raises:
        ValueError: the model has learnt by a template, and another one is chosen.
    """
    if isinstance(read, Conversation):
        if chosen is not None:
            raise ValueError("template: the model has learnt conversations by data.tokens.template, which goes into "
                             "the file; leave this one out")
        spaces = Spaces(around=isinstance(read.tokenizer, InPieces))
        turns = engines.turns(read.jinja, spaces)
        return engines.jinja(read.jinja, spaces), turns, [] if engines.ends(turns) else turns.stops
    if isinstance(chosen, Template):
        return chosen.jinja(), chosen, chosen.stops
    if chosen is None:
        return "", None, []
    known = KNOWN[chosen]
    turns = engines.turns(known.jinja, start=known.start, end=known.end)
    return engines.with_texts(known.jinja, known.start, known.end), turns, turns.stops


def in_llama_cpp(read: RunningText, kind: str) -> str:
    """Return the template of a GGUF file; nothing where the model has learnt no conversations.

    Args:
        kind: of llama.cpp's tokenizers; that of pairs sees neither to spaces nor to capitals itself.
    """
    if not isinstance(read, Conversation):
        return ""
    small = isinstance(read.tokenizer, InPieces) and read.tokenizer.lower
    return engines.jinja(read.jinja, Spaces(single=True, small=small) if kind == "llama" else AS_THEY_ARE)
