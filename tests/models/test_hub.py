"""Weights of KerasHub's language models in ours: presets in folders, and a folder in Hugging Face's layout."""
import json
import struct

import numpy as np
import pytest

import models
from pipelines.training.hub_weights import KerasHub

pytestmark = pytest.mark.slow  # importing KerasHub takes half a minute
SMALL = {"length": 10, "vocabulary": 50}
HUB = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
SETTINGS = {"depth": 2, "units": 16, "heads": 4, "hidden": 24}
TOKENS = np.random.default_rng(1).integers(1, 50, (3, 10)).astype("int32")
ALL = np.ones_like(TOKENS)


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="wants the extra hub").models


def saved(backbone, folder):
    """Draw the weights of a backbone anew, and save it as a preset; return its folder."""
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        around = 1 if weight.name in ("gamma", "scale", "weight") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
    backbone.save_to_preset(str(folder))
    return str(folder)


def loaded(builder, preset, settings, **dimensions):
    model = models.build(builder, **{**SMALL, **dimensions}, **{**SETTINGS, **settings})
    entry = KerasHub(preset=preset)
    entry.suit(model, builder, settings)
    return model, entry.load(model, builder, settings)


def test_gpt_takes_gpt2_and_as_many_positions_as_it_has(hub, tmp_path):
    backbone = hub.GPT2Backbone(**HUB, num_heads=4, max_sequence_length=30)
    model, names = loaded("gpt", saved(backbone, tmp_path), {})
    assert names == [layer.name for layer in model.layers if layer.weights]
    hidden = backbone({"token_ids": TOKENS, "padding_mask": ALL})
    np.testing.assert_allclose(model(TOKENS)["logits"], backbone.token_embedding(hidden, reverse=True), atol=1e-4)


@pytest.mark.parametrize("kind", ["LlamaBackbone", "Llama3Backbone", "MistralBackbone"])
def test_llama_takes_llama_and_its_likes(hub, tmp_path, kind):
    more = {"sliding_window": 20} if kind == "MistralBackbone" else {}
    backbone = getattr(hub, kind)(**HUB, num_query_heads=4, num_key_value_heads=2, layer_norm_epsilon=1e-5,
                                  rope_max_wavelength=700, **more)
    model, _ = loaded("llama", saved(backbone, tmp_path), {"groups": 2, "rotary": 700.0})
    hidden = backbone({"token_ids": TOKENS, "padding_mask": ALL})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(TOKENS)["logits"], expected, atol=1e-4 * np.abs(expected).max())


def test_bert_takes_bert_but_for_the_classes(hub, tmp_path):
    backbone = hub.BertBackbone(**HUB, num_heads=4, max_sequence_length=10)
    model, names = loaded("bert", saved(backbone, tmp_path), {}, classes=3)
    assert "pooler" in names and "logits" not in names
    pooled = backbone({"token_ids": TOKENS, "segment_ids": 0 * TOKENS, "padding_mask": ALL})["pooled_output"]
    np.testing.assert_allclose(model(TOKENS), model.get_layer("logits")(pooled), atol=1e-4)


def test_t5_takes_t5(hub, tmp_path):
    backbone = hub.T5Backbone(**HUB, num_heads=4, key_value_dim=6, use_gated_activation=True, activation="relu",
                              tie_embedding_weights=True)
    model, _ = loaded("t5", saved(backbone, tmp_path), {"head_width": 6, "gated": True, "shared": True},
                      target_length=10, target_vocabulary=50)
    hidden = backbone({"encoder_token_ids": TOKENS, "encoder_padding_mask": ALL, "decoder_token_ids": TOKENS,
                       "decoder_padding_mask": ALL})["decoder_sequence_output"]
    expected = np.asarray(backbone.token_embedding(hidden * 16**-0.5, reverse=True))
    result = model({"tokens": TOKENS, "previous": TOKENS})["logits"]
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


def in_hugging_faces_layout(folder, tied):
    """Write a LLaMA checkpoint of random weights, config.json and model.safetensors; return the weights by name."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 50, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 16, "intermediate_size": 24,
              "rms_norm_eps": 1e-5, "rope_theta": 700.0, "tie_word_embeddings": tied}
    shapes = {"model.embed_tokens.weight": (50, 16), "model.norm.weight": (16,)}
    shapes |= {} if tied else {"lm_head.weight": (50, 16)}
    for number in range(2):
        own = f"model.layers.{number}"
        shapes |= {f"{own}.self_attn.q_proj.weight": (16, 16), f"{own}.self_attn.k_proj.weight": (8, 16),
                   f"{own}.self_attn.v_proj.weight": (8, 16), f"{own}.self_attn.o_proj.weight": (16, 16),
                   f"{own}.mlp.gate_proj.weight": (24, 16), f"{own}.mlp.up_proj.weight": (24, 16),
                   f"{own}.mlp.down_proj.weight": (16, 24), f"{own}.input_layernorm.weight": (16,),
                   f"{own}.post_attention_layernorm.weight": (16,)}
    generator = np.random.default_rng(3)
    weights = {name: (generator.normal(size=shape) * 0.3 + (len(shape) == 1)).astype("<f4")
               for name, shape in shapes.items()}
    header, place = {}, 0
    for name, weight in weights.items():
        header[name] = {"dtype": "F32", "shape": weight.shape, "data_offsets": [place, place + weight.nbytes]}
        place += weight.nbytes
    written = json.dumps(header).encode()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(written)) + written + b"".join(weight.tobytes() for weight in weights.values()))
    return weights


def of_llama(tokens, weights):
    """Return the logits of one text, (tokens, vocabulary), by the published formulas, in Hugging Face's names."""
    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[name]

    def turned(x):
        angles = np.arange(len(x))[:, None] * 700.0 ** (-np.arange(2) / 2)
        pairs = (x[:, :2] + 1j * x[:, 2:]) * np.exp(1j * angles)
        return np.concatenate([pairs.real, pairs.imag], axis=-1)

    x = weights["model.embed_tokens.weight"][tokens].astype("float64")
    unseen = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for number in range(2):
        own = f"model.layers.{number}"
        y = norm(x, f"{own}.input_layernorm.weight")
        q, k, v = (y @ weights[f"{own}.self_attn.{part}_proj.weight"].T for part in "qkv")
        heads = []
        for head in range(4):
            mine, group = slice(4 * head, 4 * head + 4), slice(4 * (head // 2), 4 * (head // 2) + 4)
            scores = turned(q[:, mine]) @ turned(k[:, group]).T / 2 + unseen
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(shares / shares.sum(-1, keepdims=True) @ v[:, group])
        x = x + np.concatenate(heads, -1) @ weights[f"{own}.self_attn.o_proj.weight"].T
        y = norm(x, f"{own}.post_attention_layernorm.weight")
        gate, up = (y @ weights[f"{own}.mlp.{part}_proj.weight"].T for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{own}.mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T


@pytest.mark.parametrize("tied", [False, True])
def test_llama_takes_a_folder_of_hugging_faces(hub, tmp_path, tied):
    pytest.importorskip("safetensors", reason="wants the extra hub")
    weights = in_hugging_faces_layout(tmp_path, tied)
    model, _ = loaded("llama", str(tmp_path), {"groups": 2, "rotary": 700.0, "tied": tied})
    expected = np.stack([of_llama(text, weights) for text in TOKENS])
    np.testing.assert_allclose(model(TOKENS)["logits"], expected, atol=1e-4)


def test_presets_that_do_not_fit_are_refused_before_any_weight_changes(hub, tmp_path):
    preset = saved(hub.GPT2Backbone(**HUB, num_heads=4, max_sequence_length=10), tmp_path)
    for builder, settings, dimensions, reason in [
            ("llama", {}, {}, "is a GPT2Backbone; llama takes weights of LlamaBackbone, Llama3Backbone"),
            ("gpt", {}, {"vocabulary": 60}, r"layer embedding has weights \(60, 16\).* of \(50, 16\) for it"),
            ("gpt", {}, {"length": 12}, r"layer positions has weights \(12, 16\)"),
            ("gpt", {"hidden": 32}, {}, "layer block_0_feed_forward_wide has weights"),
            ("gpt", {"depth": 3}, {}, "has nothing for it|has layer_norm"),
            ("gpt", {"depth": 1}, {}, "layer block_norm has weights|and this model has none")]:
        model = models.build(builder, **{**SMALL, **dimensions}, **{**SETTINGS, **settings})
        before = model.get_weights()
        with pytest.raises(ValueError, match=reason):
            KerasHub(preset=preset).load(model, builder, settings)
        for mine, was in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(mine, was)
    model = models.build("gpt", **SMALL, **SETTINGS)
    with pytest.raises(ValueError, match="the preset missing_folder cannot be had"):
        KerasHub(preset="missing_folder").load(model, "gpt", {})


LLAMA = {"num_query_heads": 4, "num_key_value_heads": 2, "layer_norm_epsilon": 1e-6}


@pytest.mark.parametrize(("kind", "theirs", "builder", "ours", "reason"), [
    ("GPT2Backbone", {"num_heads": 4, "max_sequence_length": 10}, "gpt", {"heads": 2}, "has heads: 4.* has 2; set"),
    ("LlamaBackbone", LLAMA, "llama", {"heads": 2, "groups": 1}, "has heads: 4"),
    ("LlamaBackbone", LLAMA, "llama", {"groups": 2, "rotary": 700.0}, "has rotary: 10000.* has 700"),
    ("Llama3Backbone", {**LLAMA, "rope_frequency_adjustment_factor": 8.0, "rope_low_freq_factor": 1.0,
                        "rope_high_freq_factor": 4.0, "rope_pretraining_sequence_length": 8192}, "llama",
     {"groups": 2}, "scales its rotary positions"),
    ("MistralBackbone", {**LLAMA, "sliding_window": 6}, "llama", {"groups": 2}, "data.tokens.length to 6 at most"),
    ("T5Backbone", {"num_heads": 4, "activation": "gelu", "tie_embedding_weights": True}, "t5",
     {"gated": True, "shared": True}, "has activation: gelu, this model has relu")])
def test_what_shapes_do_not_tell_is_compared_too(hub, tmp_path, kind, theirs, builder, ours, reason):
    preset = saved(getattr(hub, kind)(**HUB, **theirs), tmp_path)
    dimensions = {"target_length": 10, "target_vocabulary": 50} if builder == "t5" else {}
    with pytest.raises(ValueError, match=reason):
        loaded(builder, preset, ours, **dimensions)


def test_llama_normalizes_with_its_epsilon(hub, tmp_path):
    backbone = hub.LlamaBackbone(**HUB, **{**LLAMA, "layer_norm_epsilon": 0.1})
    model, _ = loaded("llama", saved(backbone, tmp_path), {"groups": 2, "epsilon": 0.1})
    hidden = backbone({"token_ids": TOKENS, "padding_mask": ALL})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(TOKENS)["logits"], expected, atol=1e-4 * np.abs(expected).max())
