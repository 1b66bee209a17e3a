"""Weights of KerasHub's language models, for the Transformers here: from its presets, by name or from a folder, and
from folders in Hugging Face's layout, which it converts."""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy

from models.attention import attention_class
from models.pretrained import hub_backbone, weighted
from models.transformer import activation_class

with epy.lazy_imports():
    import keras
    import numpy as np

#: Families of builders, and the classes of KerasHub whose weights they take.
BACKBONES = {"gpt": ("GPT2Backbone",), "llama": ("LlamaBackbone", "Llama3Backbone", "MistralBackbone"),
             "mistral": ("MistralBackbone",), "qwen2": ("QwenBackbone",), "qwen3": ("Qwen3Backbone",),
             "gemma": ("GemmaBackbone",), "gemma3": ("Gemma3Backbone",), "bert": ("BertBackbone",),
             "distilbert": ("DistilBertBackbone",), "roberta": ("RobertaBackbone",), "t5": ("T5Backbone",)}
#: The parts of an attention, in KerasHub's order.
ATTENTION = ("attention_query", "attention_key", "attention_value", "attention_output", "attention_norm")
#: Behind it where it is gated, and where the activation comes first.
GATED = ("feed_forward_wide", "feed_forward_gate", "feed_forward_output", "feed_forward_norm")
GATE_FIRST = ("feed_forward_gate", "feed_forward_wide", "feed_forward_output")
ENCODER = (*ATTENTION, "feed_forward_norm", "feed_forward_wide", "feed_forward_output")
BLOCKS = {"gpt": (*ATTENTION, "feed_forward_wide", "feed_forward_output", "feed_forward_norm"),
          **dict.fromkeys(("llama", "mistral", "qwen2"), (*ATTENTION, *GATED)),
          "qwen3": ("attention_query", "attention_query_norm", "attention_key", "attention_key_norm", "attention_value",
                    "attention_output", "attention_norm", *GATED),
          "gemma": ("attention_norm", *ATTENTION[:4], "feed_forward_norm", *GATE_FIRST),
          "gemma3": ("attention_norm", "attention_norm_behind", *ATTENTION[:3], "attention_query_norm",
                     "attention_key_norm", "attention_output", "feed_forward_norm", "feed_forward_norm_behind",
                     *GATE_FIRST),
          **dict.fromkeys(("bert", "distilbert", "roberta"), ENCODER)}
ENCODERS = ("bert", "distilbert", "roberta")
#: What stands between the vectors of tokens and the blocks.
FIRST = {"gpt": ("positions",), "bert": ("positions", "segments", "embedding_norm"),
         "distilbert": ("positions", "embedding_norm"), "roberta": ("positions", "embedding_norm")}
#: Families whose normalizations multiply by one more than their weights, and have heads first in their kernels.
ONE_MORE = ("gemma", "gemma3")


def load(model: keras.Model, family: str, preset: str) -> list[str]:
    """Load all weights of a preset into a model of the same size.

    Learned positions may be fewer than the preset's: the first ones are taken. What a preset lacks, such as the logits
    of classes, stays as it is.

    Args:
        family: of the builder, see `BACKBONES`.
        preset: a name, or a folder of KerasHub's or of Hugging Face's.

    Returns:
        The names of the layers that have weights now, in the model's order.

    Raises:
        ValueError: KerasHub is not installed, the preset cannot be had, is another kind of model, or does not fit.
    """
    backbone = hub_backbone(preset)
    kind = type(backbone).__name__
    if kind not in BACKBONES[family]:
        raise ValueError(f"the preset {preset} is a {kind}; {family} takes weights of {', '.join(BACKBONES[family])}")
    _check(model, backbone, preset)
    ours = {layer.name: layer for layer in model.layers}
    names = [name for name in _names(family, ours) if name in ours]
    theirs = iter(backbone.weights)
    changes = [(mine, _fitted(mine, next(theirs, None), name, preset, family in ONE_MORE))
               for name in names for mine in ours[name].weights]
    if (more := next(theirs, None)) is not None:
        raise ValueError(f"the preset {preset} has weights {more.path} of {tuple(more.shape)}, and this model has "
                         "none: it wants the same depth, and tied where the preset is")
    for mine, other in changes:
        mine.assign(other)
    return [layer.name for layer in weighted(model) if layer.name in names]


def _check(model: keras.Model, backbone: Any, preset: str) -> None:
    """Raise ValueError where a preset computes something else with weights of the same shapes."""
    attention: Any = next(layer for layer in model.layers if isinstance(layer, attention_class()))
    heads = backbone.num_query_heads if hasattr(backbone, "num_query_heads") else backbone.num_heads
    settings = {"heads": (attention.heads, heads),
                "groups": (attention.groups, getattr(backbone, "num_key_value_heads", heads))}
    if hasattr(backbone, "rope_max_wavelength"):
        settings["rotary"] = (attention.rotary, backbone.rope_max_wavelength)
    for name, (mine, other) in settings.items():
        if mine != other:
            raise ValueError(f"the preset {preset} has {name}: {other}, this model has {mine}; set {name}: {other}")
    scaling = [getattr(backbone, name, None) for name in (
        "rope_position_scaling_factor", "rope_scaling_factor", "rope_frequency_adjustment_factor",
        "local_rope_scaling_factor", "global_rope_scaling_factor")]
    if any(factor not in (None, 1) for factor in scaling):
        raise ValueError(f"the preset {preset} scales its rotary positions, as Llama 3.1 does, and this model does not")
    for name, what in UNKNOWN.items():
        if getattr(backbone, name, None):
            raise ValueError(f"the preset {preset} {what}, and this model does not")
    _check_window(attention.window, _window(backbone), model.inputs[0].shape[1], preset)
    if hasattr(backbone, "activation"):
        between: Any = next(layer for layer in model.layers if isinstance(layer, activation_class()))
        x = np.linspace(-4, 4, 41, dtype="float32")
        if not np.allclose(between.activated(x), backbone.activation(x), atol=1e-5):
            name = getattr(backbone.activation, "__name__", "another one")
            raise ValueError(f"the preset {preset} has activation: {name}, this model has {between.activation}")


#: What presets may do with the same weights, and no model here does.
UNKNOWN = {"attention_logit_soft_cap": "caps its scores, as Gemma 2 does",
           "final_logit_soft_cap": "caps its logits, as Gemma 2 does",
           "use_bidirectional_attention": "reads texts from both sides"}


def _window(backbone: Any) -> int | None:
    """Return how many tokens a token of a preset sees; None where it sees all."""
    if not getattr(backbone, "use_sliding_window_attention", True):
        return None
    return getattr(backbone, "sliding_window", None) or getattr(backbone, "sliding_window_size", None)


def _check_window(mine: int | None, other: int | None, length: int, preset: str) -> None:
    """Raise ValueError where texts are so long that tokens see others than in a preset."""
    if mine == other or length <= min(window for window in (mine, other) if window is not None):
        return
    if mine is None:
        raise ValueError(f"the tokens of the preset {preset} see {other} of those before them, and a text has "
                         f"{length} here: set data.tokens.length to {other} at most")
    raise ValueError(f"the preset {preset} has window: {other or 'none'}, this model has {mine}; "
                     + (f"set window: {other}" if other else f"set window: {length}, the length of a text"))


def _fitted(mine: Any, other: Any, name: str, preset: str, one_more: bool = False) -> np.ndarray:
    """Return a weight in the shape of ours, where KerasHub's has axes for heads. Raises ValueError where it does not
    fit.

    Args:
        one_more: see `ONE_MORE`.
    """
    if other is not None:
        values = np.asarray(other)
        if one_more and name.endswith(("norm", "norm_behind")):
            values = 1 + values
        elif one_more and name.endswith(("_query", "_key", "_value")) and values.ndim == 3:
            values = np.swapaxes(values, 0, 1)
        values = values[:mine.shape[0]] if name == "positions" else values
        if set(_products(mine.shape)) <= set(_products(values.shape)) and values.size == math.prod(mine.shape):
            return values.reshape(mine.shape)
    has = "nothing" if other is None else f"{other.path} of {tuple(other.shape)}"
    raise ValueError(f"layer {name} has weights {tuple(mine.shape)}, the preset {preset} has {has} for it: it wants "
                     "the same vocabulary, units, heads, groups, hidden and depth")


def _products(shape: Sequence[int]) -> list[int]:
    """Return how many numbers lie along the first axis, the first two, and so on."""
    return [math.prod(shape[:count]) for count in range(1, len(shape) + 1)]


def _names(family: str, ours: dict[str, Any]) -> Iterator[str]:
    """Yield the names of our layers in KerasHub's order; some may not be there."""
    if family == "t5":
        yield "target_embedding"
        yield from ["logits"] if "logits" in ours else []
        for side in ("encoder", "decoder"):
            yield f"{side}_distances"
            for number in range(_depth(side, ours)):
                own = f"{side}_{number}"
                yield from (f"{own}_{part}" for part in ATTENTION)
                yield from (f"{own}_{part.replace('attention', 'memory')}" for part in ATTENTION)
                is_gated = f"{own}_feed_forward_gate" in ours  # KerasHub has first what the activation sees
                for part in ("gate", "wide") if is_gated else ("wide",):
                    yield f"{own}_feed_forward_{part}"
                yield from (f"{own}_feed_forward_{part}" for part in ("output", "norm"))
            yield f"{side}_norm"
        return
    yield "embedding"
    yield from FIRST.get(family, ("logits",))
    for number in range(_depth("block", ours)):
        yield from (f"block_{number}_{part}" for part in BLOCKS[family])
    if family not in ENCODERS:
        yield "block_norm"
    elif family == "bert":
        yield "pooler"


def _depth(name: str, ours: dict[str, Any]) -> int:
    return sum(f"{name}_{number}_attention" in ours for number in range(len(ours)))
