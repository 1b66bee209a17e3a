"""Texts that a model goes on with, some tokens a call, by the signatures `prefill` and `decode` of its SavedModel:
what was read of each text goes out and comes in again, and the same text is made as by all tokens at once."""
from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from serving.completions.chat import Piece
from serving.completions.requests import RequestError
from serving.core import Core
from serving.manager import Version

PREFILL, PREFILL_PIECES, DECODE = "prefill", "prefill_pieces", "decode"
#: What is given to `prefill`, to `prefill_pieces`, and to `decode` beside what the call before gave.
TEXT, PIECES, BEHIND, STEPS = "text", "pieces", "behind", "steps"
SETTINGS = ("count", "temperature", "top_k", "top_p", "seed")
#: What `decode` gives of a text, and the tokens so far, which have a place more than fit into a text.
ADDED, ADDED_TOKENS, PROMPT_TOKENS, TOKENS, ENDED = "added", "added_tokens", "prompt_tokens", "tokens", "ended"
#: Stands for bytes that are no whole character yet.
REPLACEMENT = "\ufffd"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How texts are gone on with.

    Args:
        most: tokens that are added to each; None: as many as there is room for.
        choices: texts for each prompt; each has the seed after the one before's.
        stops: texts that end one, and are not part of it.
        trimmed: white space at the beginning of what is added is left out.
    """

    most: int | None
    temperature: float
    top_k: int
    top_p: float
    seed: int
    choices: int = 1
    stops: Sequence[str] = ()
    trimmed: bool = False


class Growing:
    """What is added to one text, as it may be handed on: no part of a stop, no part of a character.

    Args:
        settings: its stops, and whether it is trimmed.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.handed = ""
        self.reason: str | None = None
        self.tokens = 0

    def take(self, text: str, tokens: int, reason: str | None) -> str:
        """Return what is handed on of all that was added so far.

        Args:
            tokens: how many it has.
            reason: why nothing more will be added; None where more may be.
        """
        self.tokens = tokens
        left_out = len(text) - len(text.lstrip()) if self.settings.trimmed else 0
        # a stop may begin within the white space that is left out, but is not all of it
        places = [place for stop in self.settings.stops
                  if (place := text.find(stop, max(0, left_out - len(stop) + 1))) >= 0]
        if places:
            text, reason = text[:min(places)], "stop"
        elif reason is None:
            text = text[:len(text) - self._held(text)]
        text = text[left_out:]
        self.reason = reason
        if len(text) < len(self.handed) or not text.startswith(self.handed):
            return ""
        new, self.handed = text[len(self.handed):], text
        return new

    def _held(self, text: str) -> int:
        """Return how many characters at the end may become a stop, or are not whole."""
        held = len(text) - len(text.rstrip(REPLACEMENT))
        for stop in self.settings.stops:
            fits = (size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size]))
            held = max(held, next(fits, 0))
        return held


class Continuation:
    """Texts of one request.

    Args:
        version: of the model, held.
        name: of the model.
        prompts: in pieces.

    Raises:
        RequestError: the model has no such signatures.
    """

    def __init__(self, core: Core, version: Version, name: str, prompts: Sequence[Sequence[Piece]],
                 settings: Settings):
        self.core, self.version, self.settings = core, version, settings
        known = version.loaded.signatures
        if PREFILL not in known or DECODE not in known:
            raise RequestError(f"The model `{name[:200]}` does not go on with texts: it lacks the signatures {PREFILL} "
                               f"and {DECODE}", param="model")
        self.kept = sorted(set(known[DECODE].inputs) - {STEPS, *SETTINGS})
        self._signature, self._inputs = _given(prompts, PREFILL_PIECES in known)
        self.room = known[DECODE].inputs[TOKENS].tensor_shape.dim[-1].size - 1
        self.texts = [Growing(settings) for _ in range(len(prompts) * settings.choices)]
        self.prompt_tokens: list[int] = []
        self._states: dict[str, np.ndarray] = {}
        self._most = np.zeros(0, np.int32)

    async def begin(self) -> None:
        """Read the prompts. Raises RequestError where one leaves no room for what is asked for."""
        answer = await self.core.run(self.version, self._signature, self._inputs, [*self.kept, PROMPT_TOKENS])
        self.prompt_tokens = answer[PROMPT_TOKENS].tolist()
        asked = self.settings.most or 1
        for count in self.prompt_tokens:
            if count + asked > self.room:
                known = f"at least {count:,}" if count >= self.room else f"{count:,}"
                raise RequestError(
                    f"This model's maximum context length is {self.room:,} tokens; you requested {known} in the prompt "
                    f"and {asked:,} for the completion. Please reduce one of them.", code="context_length_exceeded")
        self._states = {name: np.repeat(answer[name], self.settings.choices, axis=0) for name in self.kept}
        own = np.repeat(answer[PROMPT_TOKENS], self.settings.choices)
        self._most = np.minimum(self.settings.most or self.room, self.room - own).astype(np.int32)

    async def parts(self, steps: int) -> AsyncIterator[list[str]]:
        """Yield what is added to each text, until all have come to their end.

        Args:
            steps: tokens that are added to each between two yields, at most.
        """
        rows, settings = len(self.texts), self.settings
        numbers = np.arange(rows, dtype=np.int64) % settings.choices
        inputs: dict[str, Any] = {
            "count": self._most, STEPS: np.full(rows, steps, np.int32),
            "temperature": np.full(rows, settings.temperature, np.float32),
            "top_k": np.full(rows, settings.top_k, np.int32), "top_p": np.full(rows, settings.top_p, np.float32),
            "seed": settings.seed + numbers}
        outputs = [*self.kept, ADDED, ADDED_TOKENS]
        while any(text.reason is None for text in self.texts):
            answer = await self.core.run(self.version, DECODE, {**inputs, **self._states}, outputs)
            self._states = {name: answer[name] for name in self.kept}
            ended, full = answer[ENDED], answer[ADDED_TOKENS] >= self._most
            parts = [""] * rows
            for row, text in enumerate(self.texts):
                if text.reason is None:
                    reason = "stop" if ended[row] else "length" if full[row] else None
                    added = answer[ADDED][row].decode("utf-8", "replace")
                    parts[row] = text.take(added, int(answer[ADDED_TOKENS][row]), reason)
            self._states[ENDED] = np.array([text.reason is not None for text in self.texts])
            yield parts

    @property
    def usage(self) -> dict[str, int]:
        """Return how many tokens were read and written."""
        read, written = sum(self.prompt_tokens), sum(text.tokens for text in self.texts)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _given(prompts: Sequence[Sequence[Piece]], in_pieces: bool) -> tuple[str, dict[str, np.ndarray]]:
    """Return the signature that reads prompts, and what it is given: all as they are, in pieces, where the model takes
    these.

    Args:
        prompts: in as many pieces each.
    """
    if in_pieces:
        return PREFILL_PIECES, {
            PIECES: np.array([[piece.text.encode() for piece in prompt] for prompt in prompts], object),
            BEHIND: np.array([[piece.behind for piece in prompt] for prompt in prompts], np.int32)}
    texts = ["".join(piece.text for piece in prompt).encode() for prompt in prompts]
    return PREFILL, {TEXT: np.array(texts, object)}
