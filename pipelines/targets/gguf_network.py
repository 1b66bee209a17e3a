"""The decoders of `gpt`, `llama` and its likes as llama.cpp has them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy

from export.targets.gguf import EMBEDDING, OUTPUT, POSITIONS, Network
from models.chunks import BLOCK, SCALE, ChunkedDecoder

with epy.lazy_imports():
    import keras
    import numpy as np

#: Layers of a block, and llama.cpp's names of them; some are of some architectures alone.
GATED = {"attention_norm": "attn_norm", "attention_query": "attn_q", "attention_key": "attn_k",
         "attention_value": "attn_v", "attention_query_norm": "attn_q_norm", "attention_key_norm": "attn_k_norm",
         "attention_output": "attn_output", "attention_norm_behind": "post_attention_norm",
         "feed_forward_norm": "ffn_norm", "feed_forward_gate": "ffn_gate", "feed_forward_wide": "ffn_up",
         "feed_forward_output": "ffn_down", "feed_forward_norm_behind": "post_ffw_norm"}
#: Those of GPT-2 that are apart in its files, too.
GPT = {one: GATED[one] for one in ("attention_norm", "attention_output", "feed_forward_norm", "feed_forward_wide",
                                   "feed_forward_output")}
FUSED = ("attention_query", "attention_key", "attention_value")
#: What tells the architectures of gated decoders apart: activation, scaled vectors of tokens, biases of queries,
#: normalized queries, and normalization behind parts.
ARCHITECTURES = {("silu", False, False, False, False): "llama", ("silu", False, True, False, False): "qwen2",
                 ("silu", False, False, True, False): "qwen3", ("gelu_tanh", True, False, False, False): "gemma",
                 ("gelu_tanh", True, False, True, True): "gemma3"}
#: Of so many blocks of Gemma 3 the last sees all tokens.
FAR = 6


def network(model: keras.Model) -> Network:
    """Return a trained model as llama.cpp has it.

    Raises:
        ValueError: llama.cpp has no such network.
    """
    decoder = ChunkedDecoder(model)
    layers: Mapping[str, Any] = {layer.name: layer for layer in model.layers}
    attentions = [layers[f"{BLOCK}_{number}_attention"] for number in range(decoder.depth)]
    activation = layers[f"{BLOCK}_0_feed_forward_activation"].activation
    is_gated, is_rotated = f"{BLOCK}_0_feed_forward_gate" in layers, attentions[0].rotary is not None
    if not is_gated and not is_rotated and activation == "gelu_tanh" and "positions" in layers:
        return _gpt(decoder, layers, attentions[0])
    known = ARCHITECTURES.get((activation, SCALE in layers, bool(layers[f"{BLOCK}_0_attention_query"].use_bias),
                               f"{BLOCK}_0_attention_query_norm" in layers,
                               f"{BLOCK}_0_attention_norm_behind" in layers))
    if not is_gated or not is_rotated or known is None:
        raise ValueError(f"llama.cpp has no network like {model.name}; gpt, llama and its likes have files of GGUF")
    return _gated(known, decoder, layers, attentions)


def _gated(architecture: str, decoder: ChunkedDecoder, layers: Mapping[str, Any],
           attentions: Sequence[Any]) -> Network:
    groups, _, width = decoder.cache
    tensors = _around(layers)
    for number in range(decoder.depth):
        for ours, theirs in GATED.items():
            if (layer := layers.get(f"{BLOCK}_{number}_{ours}")) is None:
                continue
            tensor, *bias = _weights(layer)
            if architecture == "llama" and ours in ("attention_query", "attention_key"):
                tensor = neighbours(tensor, attentions[0].heads if ours == "attention_query" else groups)
            tensors[f"blk.{number}.{theirs}.weight"] = tensor
            tensors |= {f"blk.{number}.{theirs}.bias": one for one in bias}
    sees_all = [one for one in attentions if one.window is None]
    settings = _settings(decoder, layers, attentions[0]) | {
        "attention.head_count_kv": groups, "attention.key_length": width, "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(layers[f"{BLOCK}_norm"].epsilon), "rope.dimension_count": width,
        "rope.freq_base": float((sees_all or attentions)[0].rotary)}
    return Network(architecture, settings | _window(architecture, decoder.length, attentions), tensors)


def _window(architecture: str, length: int, attentions: Sequence[Any]) -> dict[str, int | float]:
    """Return the settings of windows. Raises ValueError where llama.cpp's network has other ones."""
    windows = [one.window for one in attentions]
    window = next((one for one in windows if one is not None), None)
    if architecture == "gemma3" and windows == [None if number % FAR == FAR - 1 else window
                                                for number in range(len(windows))]:
        return {"attention.sliding_window": int(window or length), "rope.freq_base_swa": float(attentions[0].rotary)}
    if window is not None and window < length:
        raise ValueError(f"tokens see {window} of those before them, and in llama.cpp's {architecture} all {length}; "
                         f"set window to {length}, or data.tokens.length to {window}")
    return {}


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
