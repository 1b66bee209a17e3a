"""The decoders of `gpt` and `llama` as llama.cpp has them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epy

from export.targets.gguf import EMBEDDING, OUTPUT, POSITIONS, Network
from models.chunks import BLOCK, ChunkedDecoder

with epy.lazy_imports():
    import keras
    import numpy as np

#: Layers of a block in the architecture of LLaMA, and llama.cpp's names of them.
LLAMA = {"attention_norm": "attn_norm", "attention_query": "attn_q", "attention_key": "attn_k",
         "attention_value": "attn_v", "attention_output": "attn_output", "feed_forward_norm": "ffn_norm",
         "feed_forward_gate": "ffn_gate", "feed_forward_wide": "ffn_up", "feed_forward_output": "ffn_down"}
#: Those of GPT-2 whose names are others.
GPT = {one: LLAMA[one] for one in ("attention_norm", "attention_output", "feed_forward_norm", "feed_forward_wide",
                                   "feed_forward_output")}
FUSED = ("attention_query", "attention_key", "attention_value")


def network(model: keras.Model) -> Network:
    """Return a trained model as llama.cpp has it.

    Raises:
        ValueError: llama.cpp has no such network.
    """
    decoder = ChunkedDecoder(model)
    layers: Mapping[str, Any] = {layer.name: layer for layer in model.layers}
    attention, activation = layers[f"{BLOCK}_0_attention"], layers[f"{BLOCK}_0_feed_forward_activation"]
    is_gated, is_rotated = f"{BLOCK}_0_feed_forward_gate" in layers, attention.rotary is not None
    form = (is_gated, is_rotated, activation.activation, "positions" in layers)
    if form == (True, True, "silu", False):
        return _llama(decoder, layers, attention)
    if form == (False, False, "gelu_tanh", True):
        return _gpt(decoder, layers, attention)
    raise ValueError(f"llama.cpp has no network like {model.name}; gpt and llama have files of GGUF")


def _llama(decoder: ChunkedDecoder, layers: Mapping[str, Any], attention: Any) -> Network:
    groups, _, width = decoder.cache
    tensors = _around(layers)
    for number in range(decoder.depth):
        for ours, theirs in LLAMA.items():
            tensor = _weights(layers[f"{BLOCK}_{number}_{ours}"])[0]
            if ours in ("attention_query", "attention_key"):
                tensor = neighbours(tensor, attention.heads if ours == "attention_query" else groups)
            tensors[f"blk.{number}.{theirs}.weight"] = tensor
    settings = _settings(decoder, layers, attention) | {
        "attention.head_count_kv": groups, "attention.key_length": width, "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(layers[f"{BLOCK}_norm"].epsilon), "rope.dimension_count": width,
        "rope.freq_base": float(attention.rotary)}
    return Network("llama", settings, tensors)


def _gpt(decoder: ChunkedDecoder, layers: Mapping[str, Any], attention: Any) -> Network:
    tensors = _around(layers) | {POSITIONS: _weights(layers["positions"])[0]}
    for number in range(decoder.depth):
        for ours, theirs in GPT.items():
            tensor, bias = _weights(layers[f"{BLOCK}_{number}_{ours}"])
            tensors |= {f"blk.{number}.{theirs}.weight": tensor, f"blk.{number}.{theirs}.bias": bias}
        fused = [_weights(layers[f"{BLOCK}_{number}_{ours}"]) for ours in FUSED]
        for place, kind in enumerate(("weight", "bias")):
            tensors[f"blk.{number}.attn_qkv.{kind}"] = np.concatenate([one[place] for one in fused])
    settings = _settings(decoder, layers, attention) | {
        "attention.layer_norm_epsilon": float(layers[f"{BLOCK}_norm"].epsilon)}
    return Network("gpt2", settings, tensors)


def _around(layers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what stands before and behind the blocks; logits are made by the vectors of tokens where they have no
    weights of their own."""
    tensors = {EMBEDDING: _weights(layers["embedding"])[0]}
    norm = _weights(layers[f"{BLOCK}_norm"])
    tensors |= dict(zip(("output_norm.weight", "output_norm.bias"), norm, strict=False))
    return tensors | ({OUTPUT: _weights(layers["logits"])[0]} if "logits" in layers else {})


def _settings(decoder: ChunkedDecoder, layers: Mapping[str, Any], attention: Any) -> dict[str, int | float]:
    wide = layers[f"{BLOCK}_0_feed_forward_wide"].kernel
    return {"context_length": decoder.length, "embedding_length": int(wide.shape[0]), "block_count": decoder.depth,
            "feed_forward_length": int(wide.shape[1]), "attention.head_count": attention.heads,
            "vocab_size": decoder.vocabulary}


def _weights(layer: Any) -> list[np.ndarray]:
    """Return the weights of a layer, of dense ones with a row for each output."""
    weights = [np.asarray(weight, np.float32) for weight in layer.get_weights()]
    return [weights[0].T, *weights[1:]] if isinstance(layer, keras.layers.Dense) else weights


def neighbours(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Return weights of queries or keys, (heads * width, units), for rotations of neighbours: here the i-th unit of a
    head is rotated with the one half a head behind it, in llama.cpp's LLaMA with the next.

    Args:
        heads: of the queries, or those of the keys.
    """
    rows, units = tensor.shape
    return tensor.reshape(heads, 2, rows // heads // 2, units).swapaxes(1, 2).reshape(rows, units)
