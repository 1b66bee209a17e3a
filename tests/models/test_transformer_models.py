"""GPT, LLaMA, BERT, T5, the first Transformer: their sizes, that no token sees what it must not, and that files answer
as the models do."""
import keras
import numpy as np
import pytest

import models
from export.conversion import convert
from export.keras_models import bridge, graph
from export.predictors import open_predictor
from export.signature import Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite import gpu_coverage
from models.decoding import CachedStack
from models.stepping import stepping
from models.translators import handed_on, parts

SMALL = {"length": 10, "vocabulary": 50}
CLASSES = {**SMALL, "classes": 3}
OF_ENCODERS = {"bert_mlm": {**SMALL, "guesses": 3}, "bert_pair": {**CLASSES, "second_length": 6},
               "bert_embedder": SMALL}
WRITTEN = {**SMALL, "target_length": 6, "target_vocabulary": 50}
TRANSLATORS = ("t5", "transformer")
SETTINGS = {"depth": 2, "units": 16, "heads": 4}


def dimensions_of(name):
    if name in OF_ENCODERS:
        return OF_ENCODERS[name]
    return CLASSES if name.startswith("bert") else WRITTEN if name in TRANSLATORS else SMALL


def built(name, **settings):
    """Return a small model whose weights are drawn anew, biases and factors among them."""
    dimensions = dimensions_of(name)
    model = models.build(name, **{**dimensions, **SETTINGS, **settings})
    generator = np.random.default_rng(1)
    for weight in model.weights:
        around = 1 if weight.name in ("gamma", "scale") else 0
        weight.assign(around + 0.3 * generator.normal(size=weight.shape))
    return model


def tokens_of_texts():
    tokens = np.random.default_rng(2).integers(1, 50, (4, 10)).astype("int32")
    tokens[1, 7:] = tokens[2, 1:] = 0
    return tokens


def logits(model, tokens):
    takes_both = isinstance(model.input, dict)
    result = model({"tokens": tokens, "previous": tokens[:, ::-1][:, 4:]} if takes_both else tokens, training=False)
    return np.asarray(result["logits"] if isinstance(result, dict) else result)


CASES = [("gpt", {}), ("gpt", {"tied": False, "hidden": 24}), ("llama", {}), ("llama", {"tied": True, "groups": 2}),
         ("llama", {"groups": 1, "hidden": 40, "rotary": 500.0}), ("bert", {}),
         ("bert", {"pooling": "mean", "hidden": 24}), ("bert_tagger", {}), ("t5", {}), ("t5", {"shared": True}),
         ("t5", {"head_width": 3, "gated": True, "tied": False}), ("transformer", {}),
         ("transformer", {"shared": True, "norm_first": True, "hidden": 24}), ("transformer", {"tied": False}),
         ("bert_mlm", {"hidden": 24}), ("bert_pair", {"pooling": "mean"}), ("bert_embedder", {})]
IDS = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_the_closed_form_is_the_size_of_what_is_built(name, settings):
    model = built(name, **settings)
    dimensions = dimensions_of(name)
    size = models.builder(name).sized(dimensions, {**SETTINGS, **settings})
    assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))


@pytest.mark.parametrize("name", [
    "gpt", "llama", "bert", "bert_tagger", "t5", "transformer",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gpt2_medium", "bert_base", "bert_large",
                                                               "t5_base", "transformer_base"))])
def test_the_closed_form_is_the_size_of_the_papers_models(name):
    builder = models.builder(name)
    size = builder.sized(builder.at, {})
    with keras.StatelessScope(initialize_variables=False):
        model = builder.build(builder.at, {})
        assert (size.parameters, size.multiply_adds) == (model.count_params(), models.census.multiply_adds(model))


def test_a_masked_model_of_the_size_of_bert_base_has_as_many_parameters_as_the_published_one():
    """Of Hugging Face's BertForMaskedLM with the weights bert-base-uncased."""
    dimensions = {"length": 512, "guesses": 77, "vocabulary": 30_522}
    size = models.builder("bert_mlm").sized(dimensions, {"depth": 12, "units": 768, "heads": 12})
    assert size.parameters == 109_514_298


def test_a_masked_model_answers_at_its_places():
    model, tokens = built("bert_mlm"), tokens_of_texts()
    places = np.array([[1, 4, 6], [2, 5, 0], [0, 0, 0], [9, 8, 7]], "int32")
    answers = np.asarray(model({"tokens": tokens, "places": places}, training=False)["logits"])
    turned = np.asarray(model({"tokens": tokens, "places": places[:, ::-1]}, training=False)["logits"])
    assert answers.shape == (4, 3, 50)
    np.testing.assert_allclose(turned, answers[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(answers[2, 0], answers[2, 1], atol=1e-6)
    assert np.abs(answers[0, 0] - answers[0, 1]).max() > 1e-3


def test_a_pair_is_read_with_segments_and_without_the_padding_between():
    model, tokens = built("bert_pair"), tokens_of_texts()
    second = tokens[::-1, :6].copy()
    before = np.asarray(model({"tokens": tokens, "second": second})["logits"])
    assert before.shape == (4, 3)
    segments = model.get_layer("segments").embeddings
    table = model.get_layer("embedding").embeddings
    table.assign(np.concatenate([np.asarray(table)[:1] + 1, np.asarray(table)[1:]]))
    np.testing.assert_allclose(model({"tokens": tokens, "second": second})["logits"], before, atol=1e-4)
    segments.assign(np.asarray(segments)[::-1])
    assert np.abs(np.asarray(model({"tokens": tokens, "second": second})["logits"]) - before).max() > 1e-3


def test_an_embedding_is_the_mean_of_its_tokens_with_length_one():
    model, tokens = built("bert_embedder"), tokens_of_texts()
    inner = keras.Model(model.input, model.get_layer("block_1_feed_forward_norm").output)
    there = (tokens != 0)[..., None]
    mean = (np.asarray(inner(tokens)) * there).sum(axis=1) / there.sum(axis=1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(model(tokens)["embedding"], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "bert_embedder"])
def test_an_encoder_of_integers_computes_nothing_in_float(name, tmp_path):
    """The mask is chosen and not multiplied, tokens are looked up one by one: what stays float is quantizing."""
    model, tokens = built(name), tokens_of_texts()
    output = models.named_outputs(model)
    shapes = {key: tuple(value.shape[1:]) for key, value in output.items()}
    signature = Signature(inputs=(Tensor(name="tokens", dtype="int32", shape=(10,), role="tokens"),), outputs=tuple(
        Tensor(name=key, dtype="float32", shape=shape) for key, shape in shapes.items()))
    convert.float_graph(model, lambda one: [graph.function(one, signature)], tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "int8", [("serving_default", {"tokens": tokens})])
    whole = tflite_file.read(content)
    in_float = {tflite_file.operator_name(whole, operator) for operator in whole.subgraphs[0].operators
                if any(tflite_file.dtype(whole.subgraphs[0].tensors[int(one)]) == "float32"
                       for one in (*operator.inputs, *operator.outputs) if int(one) >= 0)}
    assert in_float <= {"QUANTIZE", "DEQUANTIZE"}
    assert {one.operator for one in gpu_coverage.coverage(content).left} == (
        {"L2_NORMALIZATION"} if name == "bert_embedder" else set())


def test_gpt3_computes_what_its_paper_says():
    """Table D.1: 3.14e23 operations for 300 G tokens, six for each parameter that multiplies."""
    builder = models.builder("gpt3")
    size = builder.sized(builder.at, {})
    attention = 96 * 2 * 2048**2 * 12_288
    assert 6 * 300e9 * (size.multiply_adds - attention) / 2048 == pytest.approx(3.14e23, rel=0.005)


@pytest.mark.parametrize(("name", "settings"), CASES[:5], ids=IDS[:5])
def test_a_language_model_sees_no_token_before_its_time(name, settings):
    model, tokens = built(name, **settings), tokens_of_texts()
    before = logits(model, tokens)
    assert before.shape == (4, 10, 50)
    changed = tokens.copy()
    changed[:, 6] = (changed[:, 6] + 5) % 50
    after = logits(model, changed)
    np.testing.assert_allclose(after[:, :6], before[:, :6], atol=1e-5)
    assert (np.abs(after[:, 6:] - before[:, 6:]).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize("name", ["gpt", "llama", "t5", "transformer"])
def test_however_far_scores_reach_no_token_sees_those_behind_it(name):
    """In training scores grow until what is only made unlikely shows through."""
    model, tokens = built(name), tokens_of_texts()
    for layer in model.layers:
        if layer.name.endswith(("attention_query", "attention_key")):
            layer.kernel.assign(20 * layer.kernel)
    previous = np.maximum(tokens[:, ::-1][:, 4:], 1)
    changed = previous.copy()
    changed[:, 4:] = (changed[:, 4:] * 7 + 3) % 50

    def asked(previous):
        rows = {"tokens": tokens, "previous": previous} if name in TRANSLATORS else np.pad(previous, ((0, 0), (0, 4)))
        return np.asarray(model(rows)["logits"])[:, :4]

    np.testing.assert_array_equal(asked(changed), asked(previous))


@pytest.mark.parametrize(("name", "settings"), CASES[5:8], ids=IDS[5:8])
def test_padding_says_nothing_to_a_bert(name, settings):
    """What the vector of the padding is changes nothing where there are tokens."""
    model, tokens = built(name, **settings), tokens_of_texts()
    before = logits(model, tokens)
    table = model.get_layer("embedding").embeddings
    table.assign(np.concatenate([np.asarray(table)[:1] + 1, np.asarray(table)[1:]]))
    after = logits(model, tokens)
    there = tokens != 0 if name == "bert_tagger" else np.full(4, True)
    np.testing.assert_allclose(after[there], before[there], atol=1e-4)
    assert np.isfinite(logits(model, np.zeros((1, 10), "int32"))).all()


@pytest.mark.parametrize(("name", "settings"), [CASES[0], CASES[3], CASES[6], CASES[10], CASES[11]],
                         ids=["gpt", "llama", "bert", "t5", "transformer"])
def test_the_bridge_keeps_a_transformer(name, settings):
    model, tokens = built(name, **settings), tokens_of_texts()
    expected = logits(model, tokens)
    there = bridge.to_tf_keras(model)
    np.testing.assert_allclose(logits(there, tokens), expected, atol=1e-5)
    np.testing.assert_allclose(logits(bridge.to_keras(there), tokens), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), [CASES[0], CASES[3], CASES[6]], ids=["gpt", "llama", "bert"])
def test_files_answer_as_the_model_does(name, settings, tmp_path):
    model, tokens = built(name, **settings), tokens_of_texts()
    expected = logits(model, tokens)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(logits(keras.models.load_model(tmp_path / "m.keras"), tokens), expected)
    signature = Signature(inputs=(Tensor(name="tokens", dtype="int32", shape=(10,), role="tokens"),),
                          outputs=(Tensor(name="logits", dtype="float32", shape=expected.shape[1:], role="logits"),))
    convert.float_graph(model, lambda model: [graph.function(model, signature)], tmp_path / "graph")
    (tmp_path / "m.tflite").write_bytes(convert.convert(tmp_path / "graph", "float32"))
    answers = open_predictor(tmp_path / "m.tflite").predict({"tokens": tokens})["logits"]
    np.testing.assert_allclose(answers, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "settings", "reason"), [
    ("gpt", {"units": 10, "heads": 4}, "gpt: 10 units do not divide among 4 heads; give a multiple of 4"),
    ("bert", {"units": 10, "heads": 4}, "bert: 10 units do not divide among 4 heads"),
    ("llama", {"heads": 4, "groups": 3}, "llama: 4 heads do not divide among 3 groups; give a divisor of 4"),
    ("llama", {"units": 12, "heads": 4}, "heads of 3 units have no halves to rotate; give an even number"),
    ("llama", {"groups": 0}, "model llama: groups"), ("gpt2", {"units": 10}, "model gpt2: units: Extra inputs"),
    ("t5", {"units": 10, "heads": 4}, "t5: 10 units do not divide among 4 heads"),
    ("t5", {"shared": True}, "what is read has 50 tokens and what is written 40; they share vectors only where"),
    ("transformer", {"units": 10, "heads": 4}, "transformer: 10 units do not divide among 4 heads"),
    ("transformer", {"shared": True}, "what is read has 50 tokens and what is written 40; they share vectors only"),
    ("transformer", {"units": 9, "heads": 3}, "model transformer: units"),
    ("bert", {"pooling": "last"}, "model bert: pooling")])
def test_what_does_not_fit_is_refused(name, settings, reason):
    with pytest.raises(ValueError, match=reason):
        fewer = {"target_vocabulary": 40} if name in TRANSLATORS else {}
        models.build(name, **{**dimensions_of(name), **fewer}, **settings)


def test_a_transformer_has_no_recurrent_steps():
    assert stepping(built("gpt")) is None and stepping(built("llama", tied=False)) is None


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_translator_sees_no_token_before_its_time_nor_what_stands_behind_a_text(name):
    model, tokens = built(name), tokens_of_texts()
    previous = np.random.default_rng(3).integers(1, 50, (4, 6)).astype("int32")

    def asked(previous):
        return np.asarray(model({"tokens": tokens, "previous": previous})["logits"])

    before, changed = asked(previous), previous.copy()
    changed[:, 3] = (changed[:, 3] + 5) % 50
    after = asked(changed)
    np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-5)
    assert (np.abs(after[:, 3:] - before[:, 3:]).max(axis=(1, 2)) > 1e-3).all()
    table = model.get_layer("embedding").embeddings
    table.assign(np.concatenate([np.asarray(table)[:1] + 1, np.asarray(table)[1:]]))
    np.testing.assert_allclose(asked(previous), before, atol=1e-4)


@pytest.mark.parametrize(("name", "settings", "library"), [
    *((name, settings, "keras") for name, settings in CASES if name in TRANSLATORS), (*CASES[9], "tf_keras"),
    (*CASES[11], "tf_keras")])
def test_a_translator_says_the_same_step_by_step(name, settings, library):
    model, tokens = built(name, **settings), tokens_of_texts()
    previous = tokens[:, ::-1][:, 4:]
    whole = logits(model, tokens)
    two = parts(model if library == "keras" else bridge.to_tf_keras(model))
    encoded = two.encode(tokens)
    states = {name: encoded.pop(name) for name in two.states}
    assert set(handed_on({"depth": 2}, 10)) == set(encoded) - {"there"} == set(two.sizes) - set(two.states)
    for place in range(6):
        answer = two.step(previous[:, place], **encoded, **states)
        states = {name: answer[name] for name in two.states}
        assert {name: tuple(state.shape[1:]) for name, state in states.items()} == {
            name: two.sizes[name] for name in two.states}
        np.testing.assert_allclose(answer["logits"], whole[:, place], atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), CASES[:5], ids=IDS[:5])
def test_a_decoder_says_the_same_step_by_step_with_what_it_keeps(name, settings):
    """With learned and rotary positions, and with grouped queries, whose keys are kept once for a group."""
    model, tokens = built(name, **settings), tokens_of_texts()
    stack = CachedStack(model, "block", 10)
    groups = settings.get("groups", 4)
    assert stack.sizes["key_1"] == stack.sizes["value_0"] == (10, 4 * groups)
    table, expected = np.asarray(model.get_layer("embedding").embeddings), logits(model, tokens)
    places = model.get_layer("positions").get_weights()[0] if name == "gpt" else np.zeros((10, 16))
    states = stack.begin(4)
    for place in range(10):
        vectors = (table[tokens[:, place]] + places[place]).astype("float32")
        y, states = stack.step(vectors[:, None], states)
        head = model.get_layer("embedding").embeddings.numpy().T if "logits" not in stack.layers else (
            model.get_layer("logits").get_weights()[0])
        np.testing.assert_allclose(y[:, 0] @ head, expected[:, place], atol=2e-5)
