"""Weights of KerasHub's Mistral, Qwen, Gemma, DistilBERT and RoBERTa in ours: presets in folders, and folders in
Hugging Face's layout, written here."""
import json
import struct

import numpy as np
import pytest

import models
from tests.models.test_hub import ALL, HUB, SETTINGS, SMALL, TOKENS, loaded, saved

pytestmark = pytest.mark.slow  # importing KerasHub takes half a minute
HEADS = {"num_query_heads": 4, "num_key_value_heads": 2}
#: Class of KerasHub, its settings, our builder, and its settings.
DECODERS = [
    ("MistralBackbone", {**HEADS, "layer_norm_epsilon": 1e-5, "rope_max_wavelength": 700, "sliding_window": 4},
     "mistral", {"groups": 2, "rotary": 700.0, "window": 4}),
    ("QwenBackbone", {**HEADS, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False}, "qwen2",
     {"groups": 2, "tied": False, "epsilon": 1e-5}),
    # KerasHub's normalizes queries and keys with 1e-5, whatever is set
    ("Qwen3Backbone", {**HEADS, "head_dim": 6, "layer_norm_epsilon": 1e-5, "sliding_window_size": None}, "qwen3",
     {"groups": 2, "head_width": 6, "epsilon": 1e-5}),
    ("GemmaBackbone", {**HEADS, "head_dim": 6, "intermediate_dim": 48}, "gemma", {"groups": 2, "head_width": 6}),
    ("Gemma3Backbone", {**HEADS, "head_dim": 6, "num_layers": 6, "image_size": None, "use_post_ffw_norm": True,
                        "use_post_attention_norm": True, "use_sliding_window_attention": True,
                        "sliding_window_size": 4}, "gemma3",
     {"groups": 2, "head_width": 6, "depth": 6, "window": 4})]


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="wants the extra hub").models


@pytest.mark.parametrize(("kind", "theirs", "builder", "ours"), DECODERS, ids=[one[2] for one in DECODERS])
def test_a_decoder_takes_all_weights_and_answers_as_kerashubs(hub, tmp_path, kind, theirs, builder, ours):
    backbone = getattr(hub, kind)(**{**HUB, **theirs}, dtype="float32")
    model, names = loaded(builder, saved(backbone, tmp_path), ours)
    assert names == [layer.name for layer in model.layers if layer.weights]
    hidden = backbone({"token_ids": TOKENS, "padding_mask": ALL})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(TOKENS)["logits"], expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "builder"), [("DistilBertBackbone", "distilbert"), ("RobertaBackbone", "roberta")])
def test_an_encoder_takes_all_weights_but_the_classifiers(hub, tmp_path, kind, builder):
    backbone = getattr(hub, kind)(**HUB, num_heads=4, max_sequence_length=14)
    model, names = loaded(builder, saved(backbone, tmp_path), {}, classes=3)
    assert names == [layer.name for layer in model.layers if layer.weights and layer.name not in ("pooler", "logits")]
    tokens, there = TOKENS.copy(), ALL.copy()
    tokens[1, 6:] = there[1, 6:] = 0
    first = np.asarray(backbone({"token_ids": tokens, "padding_mask": there}))[:, 0]
    pooler, head = (model.get_layer(name) for name in ("pooler", "logits"))
    np.testing.assert_allclose(model(tokens), head(pooler(first)), atol=1e-4)


@pytest.mark.parametrize(("kind", "theirs", "builder", "ours", "reason"), [
    ("GemmaBackbone", {"attention_logit_soft_cap": 50}, "gemma", {}, "caps its scores, as Gemma 2 does"),
    ("GemmaBackbone", {"final_logit_soft_cap": 30}, "gemma", {}, "caps its logits, as Gemma 2 does"),
    ("GemmaBackbone", {}, "llama", {}, "is a GemmaBackbone; llama takes weights of LlamaBackbone"),
    ("GemmaBackbone", {}, "gemma", {"vocabulary": 60}, r"layer embedding has weights \(60, 16\)"),
    ("GemmaBackbone", {}, "gemma", {"groups": 4}, "has groups: 2, this model has 4; set groups: 2")])
def test_what_does_not_fit_is_refused(hub, tmp_path, kind, theirs, builder, ours, reason):
    backbone = getattr(hub, kind)(**HUB, **HEADS, head_dim=4, **theirs)
    dimensions = {name: value for name, value in ours.items() if name == "vocabulary"}
    settings = {"groups": 2, **{name: value for name, value in ours.items() if name not in dimensions}}
    with pytest.raises(ValueError, match=reason):
        loaded(builder, saved(backbone, tmp_path), settings, **dimensions)


def test_windows_are_compared_where_texts_are_longer(hub, tmp_path):
    backbone = hub.MistralBackbone(**HUB, **HEADS, sliding_window=6, rope_max_wavelength=10_000)
    preset = saved(backbone, tmp_path)
    with pytest.raises(ValueError, match="has window: 6, this model has 4; set window: 6"):
        loaded("mistral", preset, {"groups": 2, "window": 4})
    loaded("mistral", preset, {"groups": 2, "window": 4}, length=4)


def write(folder, config, shapes):
    """Write a checkpoint of random weights as Hugging Face lays it out; return its folder."""
    generator, header, place, parts = np.random.default_rng(3), {}, 0, []
    for name, shape in shapes.items():
        weight = (generator.normal(size=shape) * 0.3 + (len(shape) == 1 and "bias" not in name)).astype("<f4")
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + weight.nbytes]}
        place += weight.nbytes
        parts.append(weight.tobytes())
    written = json.dumps(header).encode()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(written)) + written + b"".join(parts))
    return str(folder)


def decoder_checkpoint(kind):
    """Return the configuration and the shapes of a decoder of Hugging Face's."""
    width = 6 if kind in ("qwen3", "gemma", "gemma3_text") else 4
    depth = 6 if kind == "gemma3_text" else 2
    config = {"model_type": kind, "vocab_size": 50, "num_hidden_layers": depth, "num_attention_heads": 4,
              "num_key_value_heads": 2, "hidden_size": 16, "intermediate_size": 24, "rms_norm_eps": 1e-5,
              "rope_theta": 700.0, "tie_word_embeddings": True, "sliding_window": 4, "use_sliding_window": False,
              "head_dim": width, "max_window_layers": 2, "max_position_embeddings": 64,
              "query_pre_attn_scalar": width}
    shapes = {"model.embed_tokens.weight": (50, 16), "model.norm.weight": (16,)}
    if kind == "mistral":
        config["tie_word_embeddings"] = False
        shapes["lm_head.weight"] = (50, 16)
    for number in range(depth):
        own = f"model.layers.{number}"
        for part, count in (("q", 4), ("k", 2), ("v", 2)):
            shapes[f"{own}.self_attn.{part}_proj.weight"] = (count * width, 16)
            if kind == "qwen2":
                shapes[f"{own}.self_attn.{part}_proj.bias"] = (count * width,)
        shapes |= {f"{own}.self_attn.o_proj.weight": (16, 4 * width), f"{own}.mlp.gate_proj.weight": (24, 16),
                   f"{own}.mlp.up_proj.weight": (24, 16), f"{own}.mlp.down_proj.weight": (16, 24),
                   f"{own}.input_layernorm.weight": (16,), f"{own}.post_attention_layernorm.weight": (16,)}
        if kind in ("qwen3", "gemma3_text"):
            shapes |= {f"{own}.self_attn.{part}_norm.weight": (width,) for part in "qk"}
        if kind == "gemma3_text":
            shapes |= {f"{own}.{part}_feedforward_layernorm.weight": (16,) for part in ("pre", "post")}
    return config, shapes


@pytest.mark.parametrize(("kind", "builder", "ours"), [
    ("mistral", "mistral", {"rotary": 700.0, "window": 4}),
    ("qwen2", "qwen2", {"rotary": 700.0, "epsilon": 1e-5}),
    ("qwen3", "qwen3", {"rotary": 700.0, "epsilon": 1e-5, "head_width": 6}),
    ("gemma", "gemma", {"head_width": 6}), ("gemma3_text", "gemma3", {"head_width": 6, "depth": 6, "window": 4})])
def test_a_decoder_takes_a_folder_of_hugging_faces(hub, tmp_path, kind, builder, ours):
    pytest.importorskip("safetensors", reason="wants the extra hub")
    folder = write(tmp_path, *decoder_checkpoint(kind))
    model, names = loaded(builder, folder, {"groups": 2, **ours})
    assert names == [layer.name for layer in model.layers if layer.weights]
    backbone = hub.Backbone.from_preset(folder, dtype="float32")
    hidden = backbone({"token_ids": TOKENS, "padding_mask": ALL})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(TOKENS)["logits"], expected, atol=2e-4 * np.abs(expected).max())
    other = "llama" if builder == "gemma" else "gemma"
    with pytest.raises(ValueError, match=rf"is a \w+; {other} takes weights of"):
        loaded(other, folder, {"groups": 2})
    with pytest.raises(ValueError, match=r"layer embedding has weights \(60, 16\)"):
        loaded(builder, folder, {"groups": 2, **ours}, vocabulary=60)


@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_an_encoder_takes_a_folder_of_hugging_faces(hub, tmp_path, kind):
    pytest.importorskip("safetensors", reason="wants the extra hub")
    is_roberta = kind == "roberta"
    config = {"model_type": kind, "vocab_size": 50, "hidden_dropout_prob": 0.1, "dropout": 0.1, "pad_token_id": 1,
              **({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 16, "intermediate_size": 24,
                  "max_position_embeddings": 16} if is_roberta else
                 {"n_layers": 2, "n_heads": 4, "dim": 16, "hidden_dim": 24, "max_position_embeddings": 14})}
    front = "roberta." if is_roberta else "distilbert."
    shapes = {f"{front}embeddings.word_embeddings.weight": (50, 16),
              f"{front}embeddings.position_embeddings.weight": (config["max_position_embeddings"], 16),
              f"{front}embeddings.LayerNorm.weight": (16,), f"{front}embeddings.LayerNorm.bias": (16,)}
    for number in range(2):
        own = f"{front}{'encoder.layer' if is_roberta else 'transformer.layer'}.{number}"
        dense = {"attention.self.query": (16, 16), "attention.self.key": (16, 16), "attention.self.value": (16, 16),
                 "attention.output.dense": (16, 16), "intermediate.dense": (24, 16), "output.dense": (16, 24)} if (
            is_roberta) else {"attention.q_lin": (16, 16), "attention.k_lin": (16, 16), "attention.v_lin": (16, 16),
                              "attention.out_lin": (16, 16), "ffn.lin1": (24, 16), "ffn.lin2": (16, 24)}
        norms = ("attention.output.LayerNorm", "output.LayerNorm") if is_roberta else (
            "sa_layer_norm", "output_layer_norm")
        for name, shape in dense.items():
            shapes |= {f"{own}.{name}.weight": shape, f"{own}.{name}.bias": shape[:1]}
        for name in norms:
            shapes |= {f"{own}.{name}.weight": (16,), f"{own}.{name}.bias": (16,)}
    folder = write(tmp_path, config, shapes)
    model = models.build(kind, **SMALL, **SETTINGS, classes=3)
    from models import hub as loading

    assert "positions" in loading.load(model, kind, folder)
    backbone = hub.Backbone.from_preset(folder)
    first = np.asarray(backbone({"token_ids": TOKENS, "padding_mask": ALL}))[:, 0]
    pooler, head = (model.get_layer(name) for name in ("pooler", "logits"))
    np.testing.assert_allclose(model(TOKENS), head(pooler(first)), atol=1e-4)
