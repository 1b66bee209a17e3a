"""LoRA: what learns, what stays bit for bit, what ships, and adapters that do not fit."""
import h5py
import keras
import numpy as np
import pytest

import models
from pipelines.entries import Entry
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.training import loop, network
from pipelines.training.adapter import Adapter
from pipelines.training.lora import DENSE, Lora
from pipelines.training.section import TrainSection
from tests.pipelines.training import small

LENGTH, VOCABULARY = 8, 40
DIMENSIONS = {
    "gpt": {"length": LENGTH, "vocabulary": VOCABULARY}, "llama": {"length": LENGTH, "vocabulary": VOCABULARY},
    "bert": {"length": LENGTH, "vocabulary": VOCABULARY, "classes": 3},
    "t5": {"length": LENGTH, "vocabulary": VOCABULARY, "target_length": 6, "target_vocabulary": 30}}


def built(builder="gpt", **settings):
    keras.utils.set_random_seed(3)
    units = {"units": 32, "heads": 2, "depth": 1, "dropout": 0.0}
    model = models.build(builder, **DIMENSIONS[builder], **{**units, **settings})
    generator = np.random.default_rng(1)  # biases too, which would be zeros
    model.set_weights([generator.normal(0, 0.2, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def adapted(lora, builder="gpt", fresh=(), **settings):
    model = built(builder, **settings)
    lora.adapt(model, [layer.name for layer in model.layers if layer.weights and layer.name not in fresh])
    return model


def asked(model):
    generator = np.random.default_rng(2)
    sizes = {tensor.name: tensor.shape[1] for tensor in model.inputs}
    values = {name: generator.integers(1, 30, (4, size)).astype("int32") for name, size in sizes.items()}
    return values if isinstance(model.input, dict) else next(iter(values.values()))


def answered(model):
    outputs = model(asked(model), training=False)
    return np.array(outputs["logits"] if isinstance(outputs, dict) else outputs)


def learn(model, steps=10):
    """Train with weight decay, which would pull on anything that is left to learn."""
    import tensorflow as tf

    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            outputs = model(asked(model), training=True)
            logits = outputs["logits"] if isinstance(outputs, dict) else outputs
            loss = tf.reduce_mean(tf.square(logits - 1.0))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply(gradients, model.trainable_variables)


@pytest.mark.parametrize(("builder", "settings"), [
    ("gpt", {}), pytest.param("llama", {"groups": 1, "tied": False}, marks=pytest.mark.slow),
    pytest.param("t5", {}, marks=pytest.mark.slow)])
def test_base_stays_bit_for_bit_and_answers_alike_before_it_learns(builder, settings):
    lora = Lora(rank=4)
    plain, model = built(builder, **settings), adapted(lora, builder, **settings)
    assert np.array_equal(answered(plain), answered(model))
    frozen = [np.array(variable) for variable in model.weights if not variable.trainable]
    digest = lora.frozen(model)
    learn(model)
    assert lora.frozen(model) == digest
    after = [np.array(variable) for variable in model.weights if not variable.trainable]
    assert all(np.array_equal(one, other) for one, other in zip(frozen, after, strict=True))
    assert sum(weight.size for weight in frozen) == plain.count_params()
    assert np.abs(answered(model) - answered(plain)).max() > 0.01


def test_biases_of_changed_layers_do_not_learn():
    model = built()
    model.get_layer("block_0_attention_query").enable_lora(4)
    assert model.get_layer("block_0_attention_query").bias.trainable  # Keras leaves it so
    model = adapted(Lora(rank=4, layers=("query", "value")))
    assert {variable.name for variable in model.trainable_variables} == set(DENSE)
    assert len(model.trainable_variables) == 4


@pytest.mark.parametrize(("builder", "layers"), [
    ("gpt", ("all", "embedding")), pytest.param("t5", ("query",), marks=pytest.mark.slow)])
def test_what_ships_answers_as_base_and_adapter_do(builder, layers):
    lora = Lora(rank=4, alpha=16.0, layers=layers)
    model = adapted(lora, builder)
    learn(model, 5)
    shipped = built(builder)
    before = answered(shipped)
    shipped.set_weights(lora.merged(model))
    assert np.array_equal(answered(shipped), answered(model))
    assert not np.array_equal(answered(shipped), before)


@pytest.mark.parametrize(("base", "levels"), [("int8", 127), pytest.param("int4", 7, marks=pytest.mark.slow)])
def test_integers_stay_and_what_they_stand_for_ships(base, levels):
    lora = Lora(rank=4, layers=("query", "value"), base=base)
    plain, model = built("llama"), adapted(lora, "llama")
    query = model.get_layer("block_0_attention_query")
    assert query._kernel.dtype == "int8" and not query._kernel.trainable
    digest = lora.frozen(model)
    shipped = built("llama")
    shipped.set_weights(lora.merged(model))
    for one, other in zip(shipped.layers, plain.layers, strict=True):
        if one.name.endswith("_query"):
            kernel = np.array(other.kernel)
            assert 0 < np.abs(np.array(one.kernel) - kernel).max() <= 1.1 * np.abs(kernel).max() / levels
    learn(model, 5)
    assert lora.frozen(model) == digest
    shipped.set_weights(lora.merged(model))
    np.testing.assert_allclose(answered(shipped), answered(model), atol=2e-5 * np.abs(answered(model)).max())


@pytest.mark.parametrize("layers", [("query",), ("all",)])
def test_layers_without_starting_weights_learn_as_a_whole(layers):
    model = adapted(Lora(rank=2, layers=layers), "bert", fresh=["logits"])
    learning = {variable.path for variable in model.trainable_variables}
    assert {path.rpartition("/")[2] for path in learning} == {*DENSE, "kernel", "bias"}
    assert {path for path in learning if path.startswith("logits")} == {"logits/kernel", "logits/bias"}


def test_an_adapter_goes_on_where_its_file_ends(tmp_path):
    lora = Lora(rank=4)
    model = adapted(lora)
    learn(model, 5)
    path = tmp_path / "one.lora.h5"
    lora.save(model, path)
    again = adapted(Lora(rank=4, start=str(path)))
    assert np.array_equal(answered(again), answered(model))
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize(("changed", "builder", "settings", "message"), [
    ({"rank": 8}, "gpt", {}, "is of rank 4 and alpha 4, and the recipe says 8 and 8"),
    ({}, "gpt", {"depth": 2}, "of another model or of other layers: block_1_attention_query"),
    ({"layers": ("query",)}, "gpt", {}, "of other layers: block_0_attention_value"),
    ({}, "gpt", {"units": 64}, r"lora_kernel_a of block_0_attention_query is \(32, 4\) there and \(64, 4\) here"),
    ({}, "t5", {}, "of another model")])
def test_adapters_of_another_rank_or_model_are_refused(tmp_path, changed, builder, settings, message):
    lora, path = Lora(rank=4), tmp_path / "one.lora.h5"
    lora.save(adapted(lora), path)
    with pytest.raises(ValueError, match=message):
        adapted(Lora(**{"rank": 4, "start": str(path), **changed}), builder, **settings)


def test_files_that_are_not_adapters_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        adapted(Lora(start=str(tmp_path / "none.lora.h5")))
    (tmp_path / "text.lora.h5").write_text("no")
    with pytest.raises(ValueError, match="is not an adapter of LoRA"):
        adapted(Lora(start=str(tmp_path / "text.lora.h5")))
    with h5py.File(tmp_path / "other.lora.h5", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(ValueError, match="is not an adapter of LoRA"):
        adapted(Lora(start=str(tmp_path / "other.lora.h5")))


@pytest.mark.parametrize(("lora", "message"), [
    ({"layers": ("queries",)}, "no layer queries; it has embedding, key, logits, output, positions"),
    ({"layers": ("value",)}, "none of value has starting weights"),
    ({"rank": 33}, "33 is more than block_0_attention_query has, 32 x 32; give 32 at most")])
def test_layers_and_ranks_that_there_are_not_are_refused(lora, message):
    with pytest.raises(UserError, match=message):
        network.adapt(built(tied=False), Lora(**lora), ["embedding", "block_0_attention_query"])


RECIPE = """\
name: one
task: language_model
data: {source: bible}
model: {builder: llama, weights: {file: base.keras}}
train: {adapter: {lora: 4}}
"""


def test_recipes_name_an_adapter(tmp_path):
    (tmp_path / "one.yaml").write_text(RECIPE)
    adapter = recipe_file.read(tmp_path / "one.yaml").train.adapter
    assert isinstance(adapter, Lora) and adapter.rank == 4 and isinstance(adapter, Entry)
    assert Adapter.choices["lora"] is Lora


@pytest.mark.parametrize(("old", "new", "message"), [
    (", weights: {file: base.keras}", "", "model.weights names none"),
    ("{lora: 4}", "{lora: 4}, transfer: {}", "leave one of the two out"),
    ("{lora: 4}", "{lora: 4}, strategy: multi_worker", "use strategy: one or mirrored"),
    ("{lora: 4}", "{lora: 0}", "must be at least 1"), ("{lora: 4}", "{loraa: 4}", "Did you mean lora")])
def test_recipes_whose_adapter_cannot_be_are_refused(tmp_path, old, new, message):
    (tmp_path / "one.yaml").write_text(RECIPE.replace(old, new))
    with pytest.raises(UserError, match=message):
        recipe_file.read(tmp_path / "one.yaml")


class Cut(keras.callbacks.Callback):
    """Ends a training as a power cut would, in the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_weights_of_a_whole_one(tmp_path):
    settings = TrainSection(epochs=3, adapter="lora", schedule={"cosine": 0.01})
    generator = np.random.default_rng(4)
    inputs = {"tokens": generator.integers(1, VOCABULARY, (32, LENGTH)).astype("int32")}
    targets = {"label": np.eye(3, dtype="float32")[inputs["tokens"].sum(axis=1) % 3]}

    def batches(first):
        import tensorflow as tf

        return tf.data.Dataset.range(first, 3).flat_map(lambda epoch: tf.data.Dataset.from_tensor_slices(
            (inputs, targets)).shuffle(32, seed=epoch + 1, reshuffle_each_iteration=False).batch(8))

    def trained(folder, callbacks=()):
        keras.utils.set_random_seed(3)
        folder.mkdir(exist_ok=True)
        lora, model = Lora(rank=2), built("bert")
        lora.adapt(model, [layer.name for layer in model.layers if layer.weights and layer.name != "logits"])
        loop.fit(model, small.training(folder, settings, inputs, targets, batch=8, callbacks=callbacks,
                                       batches=batches))
        return lora.merged(model)

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "halves", [Cut()])
    resumed = trained(tmp_path / "halves", [keras.callbacks.Callback()])  # as many as the checkpoint remembers
    assert all(np.array_equal(one, other) for one, other in zip(whole, resumed, strict=True))
