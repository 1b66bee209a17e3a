"""The Transformers beside KerasHub's, with the same weights."""
import numpy as np
import pytest

import models

SMALL = {"length": 10, "vocabulary": 50}
#: Of KerasHub's models, in their words.
HUB = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
#: KerasHub's name of each layer of a block, and ours.
GPT = {"self_attention/query": "attention_query", "self_attention/key": "attention_key",
       "self_attention/value": "attention_value", "self_attention/attention_output": "attention_output",
       "self_attention_layer_norm": "attention_norm", "feedforward_layer_norm": "feed_forward_norm",
       "feedforward_intermediate_dense": "feed_forward_wide", "feedforward_output_dense": "feed_forward_output"}
BERT = {theirs.replace("self_attention/", "self_attention_layer/"): ours for theirs, ours in GPT.items()}
LLAMA = {**GPT, "self_attention_layernorm": "attention_norm", "feedforward_layernorm": "feed_forward_norm",
         "feedforward_gate_dense": "feed_forward_gate"}


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="wants the extra hub").models


def with_weights_of(backbone, model, blocks, others):
    """Draw the weights of a backbone of KerasHub anew, and copy all of them into our model."""
    generator = np.random.default_rng(0)
    names = {**{f"transformer_layer_{number}/{theirs}": f"block_{number}_{ours}" for number in range(2)
                for theirs, ours in blocks.items()}, **others}
    copied: dict[str, list[np.ndarray]] = {}
    for weight in backbone.weights:
        around = 1 if weight.name in ("gamma", "scale") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
        copied.setdefault(names[weight.path.rsplit("/", 1)[0]], []).append(np.asarray(weight))
    for name, weights in copied.items():
        layer = model.get_layer(name)
        layer.set_weights([weight.reshape(mine.shape) for weight, mine in zip(weights, layer.weights, strict=True)])
    return {layer.name for layer in model.layers if layer.weights} - set(copied)


def texts():
    tokens = np.random.default_rng(1).integers(1, 50, (3, 10)).astype("int32")
    tokens[1, 6:] = 0
    return tokens


def test_llama_is_kerashubs(hub):
    backbone = hub.LlamaBackbone(**HUB, num_query_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                                 layer_norm_epsilon=1e-5)
    model = models.build("llama", **SMALL, depth=2, units=16, heads=4, groups=2, hidden=24, tied=True)
    others = {"token_embedding": "embedding", "sequence_output_layernorm": "block_norm"}
    assert not with_weights_of(backbone, model, LLAMA, others)
    tokens = texts()
    hidden = backbone({"token_ids": tokens, "padding_mask": np.ones_like(tokens)})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(tokens)["logits"], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_gpt_is_kerashubs(hub):
    backbone = hub.GPT2Backbone(**HUB, num_heads=4, max_sequence_length=10)
    model = models.build("gpt", **SMALL, depth=2, units=16, heads=4, hidden=24)
    others = {"token_embedding": "embedding", "position_embedding": "positions", "layer_norm": "block_norm"}
    assert not with_weights_of(backbone, model, GPT, others)
    tokens = texts()
    hidden = backbone({"token_ids": tokens, "padding_mask": np.ones_like(tokens)})
    expected = np.asarray(backbone.token_embedding(hidden, reverse=True))
    np.testing.assert_allclose(model(tokens)["logits"], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_bert_is_kerashubs(hub):
    backbone = hub.BertBackbone(**HUB, num_heads=4, max_sequence_length=10)
    model = models.build("bert", **SMALL, classes=3, depth=2, units=16, heads=4, hidden=24)
    others = {"token_embedding": "embedding", "position_embedding": "positions", "segment_embedding": "segments",
              "embeddings_layer_norm": "embedding_norm", "pooled_dense": "pooler"}
    assert with_weights_of(backbone, model, BERT, others) == {"logits"}
    tokens = texts()
    pooled = backbone({"token_ids": tokens, "segment_ids": 0 * tokens,
                       "padding_mask": (tokens != 0).astype("int32")})["pooled_output"]
    np.testing.assert_allclose(model(tokens), model.get_layer("logits")(pooled), atol=1e-4)


@pytest.mark.slow
def test_positions_are_kerashubs(hub):
    import keras_hub

    from models import positions

    encoding = np.asarray(keras_hub.layers.SinePositionEncoding()(np.zeros((1, 20, 10), "float32")))[0]
    halves = positions.sines(20, 10)[0]
    np.testing.assert_allclose(encoding, np.stack([halves[:, :5], halves[:, 5:]], axis=-1).reshape(20, 10), atol=1e-5)
    x = np.random.default_rng(0).normal(size=(2, 20, 8)).astype("float32")
    turned = positions.rotated(x, *positions.rotations(np.arange(20), 8, 10_000.0))
    np.testing.assert_allclose(turned, keras_hub.layers.RotaryEmbedding()(x), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("gated", [False, True])
def test_t5_is_kerashubs(hub, gated):
    backbone = hub.T5Backbone(**HUB, num_heads=4, key_value_dim=6, use_gated_activation=gated, activation="relu",
                              tie_embedding_weights=True)
    dimensions = {**SMALL, "target_length": 9, "target_vocabulary": 50}
    model = models.build("t5", **dimensions, depth=2, units=16, heads=4, head_width=6, hidden=24, gated=gated,
                         shared=True)
    assert backbone.count_params() == model.count_params()
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign((weight.name == "weight") + 0.3 * generator.normal(size=weight.shape))

    def give(name, kernel):
        model.get_layer(name).set_weights([np.asarray(kernel)])

    give("target_embedding", backbone.token_embedding.embeddings)
    for side, blocks in (("encoder", backbone.encoder_transformer_layers),
                         ("decoder", backbone.decoder_transformer_layers)):
        give(f"{side}_distances", blocks[0].self_attention.relative_attention_bias)
        give(f"{side}_norm", getattr(backbone, f"{side}_layer_norm").weight)
        for number, block in enumerate(blocks):
            own = f"{side}_{number}"
            parts = [("attention", block.self_attention, block.self_attention_layer_norm)]
            if side == "decoder":
                parts.append(("memory", block.cross_attention, block.cross_attention_layer_norm))
            for name, attention, norm in parts:
                give(f"{own}_{name}_norm", norm.weight)
                for part in ("query", "key", "value", "output"):
                    give(f"{own}_{name}_{part}", getattr(attention, f"{part}_projector").kernel)
            give(f"{own}_feed_forward_norm", block.layer_norm.weight)
            give(f"{own}_feed_forward_output", block.output_projector.kernel)
            give(f"{own}_feed_forward_{'gate' if gated else 'wide'}", block.input_projector.kernel)
            if gated:
                give(f"{own}_feed_forward_wide", block.gate_projector.kernel)
    tokens, previous = texts(), texts()[:, :9]
    there = (tokens != 0).astype("int32")
    hidden = backbone({"encoder_token_ids": tokens, "encoder_padding_mask": there, "decoder_token_ids": previous,
                       "decoder_padding_mask": np.ones_like(previous)})["decoder_sequence_output"]
    expected = np.asarray(hidden) * 16**-0.5 @ np.asarray(backbone.token_embedding.embeddings).T
    result = model({"tokens": tokens, "previous": previous})["logits"]
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())
