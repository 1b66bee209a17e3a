"""What training keeps of an example in memory for its backward pass, of the Transformers here, without building them.

The count is that of Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022, section
4: part by part, what a backward pass reads again. The paper counts fused kernels in 16 bits; `kept` counts what
TensorFlow keeps of the same parts, which is more: it keeps each step of GELU, and the attention's weights with and
without their dropout.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from models import gpt, llama, t5, translation_transformer
from models.registry import Builder
from models.transformer import Block

#: Values of the feed-forward part's width that are kept for an activation, its result included.
ACTIVATIONS = {"relu": 1, "silu": 2, "gelu": 4, "gelu_tanh": 5}
FLOAT32 = 4


@dataclasses.dataclass(frozen=True)
class Stack:
    """Blocks of one kind.

    Args:
        block: what each is like.
        depth: how many there are.
        tokens: of an example.
        memory: tokens of an encoder that each block attends to as well; none where 0.
    """

    block: Block
    depth: int
    tokens: int
    memory: int = 0

    def kept(self, width: int) -> int:
        """Return the bytes that are kept of one example by all blocks, and by the last normalization.

        Args:
            width: bytes of a number that is computed with: 4, or 2 in mixed precision.
        """
        return self.depth * self.kept_of_one(width) + self.block.first * self._normalized(width)

    def kept_of_one(self, width: int) -> int:
        """Return the bytes that one block keeps of one example."""
        parts = [self._attention(width, self.tokens), self._feed_forward(width)]
        if self.memory:
            parts.append(self._attention(width, self.memory))
        dropped = bool(self.block.dropout) * self.tokens * self.block.units
        return sum(parts) + len(parts) * (self._normalized(width) + dropped)

    def recomputed(self, width: int) -> int:
        """Return the bytes of one example where each block keeps what it is given, and is computed again."""
        return self.depth * width * self.tokens * self.block.units + self.kept_of_one(width)

    def by_paper(self) -> float:
        """Return the bytes of one example by the paper's formula, s h L (34 + 5 a s / h): fused kernels, in 16 bits."""
        return self.tokens * self.depth * (34 * self.block.units + 5 * self.block.heads * self.tokens)

    def largest(self, width: int) -> int:
        """Return the bytes of the largest tensor of one example: scores, or the feed-forward part."""
        scores = self.block.heads * self.tokens * max(self.tokens, self.memory)
        return width * max(scores, self.tokens * self.block.hidden)

    def cache(self) -> int:
        """Return the bytes of the keys and values that generation keeps of one text, in float32."""
        return 2 * FLOAT32 * self.depth * self.block.inner[1] * (self.tokens + self.memory)

    def _normalized(self, width: int) -> int:
        # what is normalized and its factor stay in float32 in any precision
        return self.tokens * self.block.units * (2 * FLOAT32 + width)

    def _attention(self, width: int, keys: int) -> int:
        of_queries, of_keys = self.block.inner
        vectors = 2 * width * (of_queries * self.tokens + of_keys * keys)
        dropped = width + 1 if self.block.attention_dropout else 0
        return vectors + self.block.heads * self.tokens * keys * (width + dropped)

    def _feed_forward(self, width: int) -> int:
        values = ACTIVATIONS[self.block.activation] + 2 * self.block.gated
        return width * self.tokens * self.block.hidden * values


@dataclasses.dataclass(frozen=True)
class Activations:
    """Bytes of one example while a Transformer learns.

    Args:
        kept: for the backward pass, the logits and their gradient included.
        recomputed: the same where blocks are computed again in the backward pass (gradient checkpointing).
        targets: one-hot, as losses take them.
        largest: the largest tensor: what else may be alive beside what is kept.
        cache: keys and values of a text that is written; 0 of models that write none.
        by_paper: of the blocks, by the paper's formula.
    """

    kept: int
    recomputed: int
    targets: int
    largest: int
    cache: int
    by_paper: int


def known(builder: Builder) -> bool:
    """Return whether a formula knows what a builder's models keep."""
    return builder.family in _FAMILIES


def activations(builder: Builder, dimensions: Mapping[str, Any], settings: Mapping[str, Any],
                width: int = FLOAT32) -> Activations | None:
    """Return what a builder's model keeps of one example; None where no formula knows.

    Args:
        width: bytes of a number that is computed with: 4, or 2 in mixed precision.
    """
    if not known(builder):
        return None
    stacks = _FAMILIES[builder.family](dimensions, builder.settled(settings))
    last = stacks[-1]
    vocabulary = dimensions.get("target_vocabulary", dimensions["vocabulary"])
    writes = not builder.family.startswith("bert")
    scored = last.tokens * vocabulary if writes else last.tokens * dimensions.get("classes", 2)
    ends = 2 * FLOAT32 * scored + sum(width * stack.tokens * stack.block.units for stack in stacks)
    return Activations(
        kept=sum(stack.kept(width) for stack in stacks) + ends,
        recomputed=sum(stack.recomputed(width) for stack in stacks) + ends,
        targets=FLOAT32 * scored, largest=max(FLOAT32 * scored, *(stack.largest(width) for stack in stacks)),
        cache=last.cache() if writes else 0,
        by_paper=round(sum(stack.by_paper() for stack in stacks)))


def _decoder(block: Callable[..., Block], names: tuple[str, ...], dimensions: Mapping[str, Any],
             settings: Mapping[str, Any]) -> list[Stack]:
    return [Stack(block(*(settings[name] for name in names)), settings["depth"], dimensions["length"])]


def _gpt(dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Stack]:
    return _decoder(gpt._block, ("depth", "units", "heads", "hidden", "dropout"), dimensions, settings)


def _llama(dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Stack]:
    names = ("units", "heads", "groups", "hidden", "rotary", "epsilon", "dropout")
    return _decoder(llama._block, names, dimensions, settings)


def _bert(dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Stack]:
    units, heads, dropout = (settings[name] for name in ("units", "heads", "dropout"))
    block = Block(units, heads, settings["hidden"] or 4 * units, first=False, dropout=dropout,
                  attention_dropout=dropout)
    return [Stack(block, settings["depth"], dimensions["length"])]


def _t5(dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Stack]:
    names = ("units", "heads", "head_width", "hidden", "activation", "gated", "dropout")
    return _both(_decoder(t5._block, names, dimensions, settings)[0], dimensions)


def _transformer(dimensions: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Stack]:
    names = ("units", "heads", "hidden", "activation", "norm_first", "dropout")
    return _both(_decoder(translation_transformer._block, names, dimensions, settings)[0], dimensions)


def _both(encoder: Stack, dimensions: Mapping[str, Any]) -> list[Stack]:
    """Return an encoder, and a decoder that is like it."""
    decoder = dataclasses.replace(encoder, tokens=dimensions["target_length"], memory=dimensions["length"])
    return [encoder, decoder]


_FAMILIES = {"gpt": _gpt, "llama": _llama, "bert": _bert, "bert_qa": _bert, "t5": _t5, "transformer": _transformer}
