"""What is asked of a server's Transformer that has learnt to answer: the template is written around what is asked."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.signature import Function
from pipelines.features.conversation import Conversation
from pipelines.tasks.language_model import generation

if TYPE_CHECKING:
    from pipelines.ingest.data import Data


class Answering(generation.Generation):
    """A Transformer that answers. What `generate`, `sample` and `prefill` are asked is what a user says, and the
    template stands around it; `prefill_pieces` reads whole conversations as they have been written."""

    begins = "what a user says"

    def prompt(self, text: Any) -> Any:
        assert isinstance(self.feature, Conversation)
        return self.feature.question(text, self.learnt)


def functions(model: Any, data: Data, tokens: str) -> list[Function]:
    """Return the functions of a Transformer that answers, as `language_model.generation.functions` does."""
    return generation.functions(model, data, tokens, Answering)
