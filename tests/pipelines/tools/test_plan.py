"""What `litepress plan` says: held against graphs, Keras' own variables, the papers, and a measurement."""
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.activations import activations
from models.census import multiply_adds
from pipelines.errors import UserError
from pipelines.recipe import file as recipe_file
from pipelines.tools import outlook
from pipelines.tools.accelerators import ACCELERATORS, here, named
from pipelines.tools.plan import Options, plan
from pipelines.training.learners.supervised import learning, supervised
from pipelines.training.optimizers import Optimizer
from pipelines.training.step_memory import state_per_weight, traced

BATCH = 4
TEXTS = {"length": 48, "vocabulary": 40}
SETTINGS = {"depth": 1, "units": 32, "heads": 4}
CASES = [("gpt", {}, TEXTS), pytest.param("llama", {"groups": 2}, TEXTS, marks=pytest.mark.slow),
         pytest.param("gpt", {"dropout": 0.0, "tied": False}, TEXTS, marks=pytest.mark.slow),
         pytest.param("bert_tagger", {}, {**TEXTS, "classes": 5}, marks=pytest.mark.slow),
         pytest.param("bert_qa", {}, TEXTS, marks=pytest.mark.slow),
         pytest.param("transformer", {}, {**TEXTS, "target_length": 32, "target_vocabulary": 40},
                      marks=pytest.mark.slow),
         pytest.param("t5", {}, {**TEXTS, "target_length": 32, "target_vocabulary": 40}, marks=pytest.mark.slow)]


def learner_of(name, settings, dimensions):
    """Return a learner of a small Transformer, and the specification of a batch for it."""
    model = models.build(name, **{**dimensions, **SETTINGS, **settings})
    outputs = models.named_outputs(model)
    shape = (BATCH, *outputs["logits"].shape[1:])
    compare = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none")
    learner = learning(model, keras, supervised(keras))
    learner.prepare(lambda inputs, targets, outputs: compare(targets["next"], outputs["logits"]), {})
    learner.compile(optimizer="adam")
    inputs = {name: tf.TensorSpec((BATCH, *tensor.shape[1:]), tensor.dtype)
              for name, tensor in models.named_inputs(model).items()}
    return learner, (inputs, {"next": tf.TensorSpec(shape, "float32")})


@pytest.mark.parametrize(("name", "settings", "dimensions"), CASES)
def test_activations_and_operations_are_those_of_the_traced_step(name, settings, dimensions):
    learner, batch = learner_of(name, settings, dimensions)
    step = traced(learner.train_step, batch)
    formula = activations(models.builder(name), dimensions, {**SETTINGS, **settings})
    assert BATCH * formula.kept == pytest.approx(step.kept, rel=0.15)
    assert 0.95 * step.peak <= BATCH * (formula.kept + formula.largest) <= 1.25 * step.peak
    operations = float_operations(tf.function(learner.train_step).get_concrete_function(batch).graph)
    size = models.builder(name).sized(dimensions, {**SETTINGS, **settings})
    assert 3 * 2 * BATCH * size.multiply_adds == pytest.approx(operations, rel=0.15)


def float_operations(graph):
    """Return the operations that TensorFlow's profiler counts in the matrix products of a graph."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    kinds = options.with_accounted_types([".*MatMul.*"]).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=kinds, cmd="op").total_float_ops


@pytest.mark.slow
def test_less_is_kept_in_mixed_precision_and_where_blocks_are_computed_again():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        learner, batch = learner_of("gpt", {}, TEXTS)
        kept = traced(learner.train_step, batch).kept
    finally:
        keras.config.set_dtype_policy("float32")
    builder, settings = models.builder("gpt"), SETTINGS
    half, whole = (activations(builder, TEXTS, settings, width) for width in (2, 4))
    assert BATCH * half.kept == pytest.approx(kept, rel=0.15)
    assert half.kept < whole.kept
    # one block's activations, and what each of the others is given
    deeper = activations(builder, TEXTS, {**SETTINGS, "depth": 12}).recomputed
    assert deeper - whole.recomputed == 11 * 4 * TEXTS["length"] * SETTINGS["units"]


def test_the_optimizers_state_is_what_keras_makes():
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(500), keras.layers.Dense(200)])
    weights = sum(np.asarray(one).nbytes for one in model.trainable_variables)
    for name in ("sgd", "adam", "adamw", "lamb", "lion", "rmsprop", "adagrad", "adafactor", "muon"):
        optimizer = Optimizer.read(name)
        real = optimizer.build(0.001)
        before = len(real.variables)
        real.build(model.trainable_variables)
        kept = sum(np.asarray(one).nbytes for one in real.variables[before:])
        planned = state_per_weight(optimizer) * model.count_params()
        assert planned == pytest.approx(kept, rel=0.15, abs=0.02 * weights), name


RECIPE = """
name: planned
task: language_model
data:
  source: {{text_lines: {{path: nowhere, window: {length}}}}}
  tokens: {{tokenizer: {{sentencepiece: {{most: {vocabulary}}}}}, length: {length}}}
  batch: 64
model: {{builder: {builder}}}
train: {{epochs: 2}}
"""


def read(folder, builder, length=2048, vocabulary=32_000):
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(builder=builder, length=length, vocabulary=vocabulary))
    return recipe_file.read(path, [])


def test_seven_billion_parameters_are_planned_by_formulas(tmp_path):
    made = plan(read(tmp_path, "llama_7b").written(), Options(devices=8, tokens=10**9))
    layers, units, length, vocabulary = 32, 4096, 2048, 32_000
    assert made.parameters == 6_738_415_616
    # PaLM (Chowdhery et al. 2022), appendix B: 6 N + 12 L H Q T, N without the vectors of tokens and what normalizes
    multiplied = made.parameters - vocabulary * units - (2 * layers + 1) * units
    assert made.trained / made.tokens == 6 * multiplied + 12 * layers * units * length
    assert made.optimal_tokens == 20 * made.parameters and made.seen == 2 * (10**9 // length) * length
    assert (made.memory.weights, made.memory.gradients, made.memory.optimizer) == (
        4 * made.parameters, 4 * made.parameters, 8 * made.parameters)
    assert made.per_device == 8 and made.memory.cache == 2 * 32 * 4096 * 2048 * 4
    # section 4 of Korthikanti et al.: s b h L (34 + 5 a s / h)
    assert made.by_paper == 8 * length * units * layers * (34 + 5 * 32 * length / units)
    # 6 N D over what eight devices reach: within a tenth of what attention adds
    hours = made.hours(ACCELERATORS["a100"], 0.4, made.examples)
    assert hours == pytest.approx(6 * multiplied * made.seen / (8 * 0.4 * 156e12) / 3600, rel=0.2)


def test_what_does_not_fit_is_said_with_what_would(tmp_path):
    made = plan(read(tmp_path, "gpt", 128, 500).written(), Options(tokens=10**6))
    one = made.memory.of_batch // made.per_device
    assert outlook.advice(made, made.memory.total) == [] == outlook.advice(made, 0)
    some = outlook.advice(made, made.memory.state + 10 * one + one // 2)
    assert some[0] == "data.batch: 10"
    smaller, = (text for text in outlook.advice(made, made.memory.total - 1) if text.startswith("train.precision"
                ": mixed_bfloat16, "))
    assert made.alternatives["train.precision: mixed_bfloat16"].total < made.memory.total, smaller
    large = plan(read(tmp_path, "gpt3").written(), Options(devices=64, tokens=10**9))
    said, = outlook.advice(large, ACCELERATORS["h100"].memory)
    room = ACCELERATORS["h100"].memory - large.memory.of_batch / large.per_device
    assert large.parameters == pytest.approx(175e9, rel=0.01)
    assert room <= 0 or f"at least {-(-large.memory.state // int(room))} such devices" in said


def test_other_models_are_traced(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: planned\ndata: {source: digits, image: {size: 32, channels: 1}, batch: 32}\n"
                    "model: {builder: resnet8}\ntrain: {optimizer: {sgd: 0.9}, callbacks: [{ema: 0.99}]}\n")
    made = plan(recipe_file.read(path, []).written(), Options())
    model = models.build("resnet8", input_shape=(32, 32, 1), classes=10)
    trainable = sum(np.asarray(one).nbytes for one in model.trainable_variables)
    assert (made.parameters, made.forward) == (model.count_params(), 2 * multiply_adds(model))
    assert (made.memory.gradients, made.memory.optimizer) == (trainable, trainable + 4 * model.count_params())
    assert made.tokens == 0 and made.examples and made.seen is None and made.optimal_tokens is None
    written = recipe_file.read(path, []).written()
    text = "\n".join(outlook.lines(outlook.of_recipe(written, Options(), "h100", 0.4, 2.0)))
    assert f"{model.count_params():,} parameters, by tracing a step" in text and "yes" in text


def test_this_machine_is_measured():
    measured = here()
    assert measured.single > 1e8 and measured.memory > 1e8


@pytest.mark.parametrize(("builder", "options", "said"), [
    ("gpt", {"accelerator": "h1000"}, "did you mean h100"), ("language_lstm", {}, "leave --tokens out")])
def test_what_cannot_be_planned_is_refused(tmp_path, builder, options, said):
    with pytest.raises(UserError, match=said):
        named(options["accelerator"]) if options else plan(read(tmp_path, builder).written(), Options(tokens=10))


MEASURED = """
import json, resource, sys
import numpy as np
import tests.pipelines.tools.test_plan as here
here.BATCH = int(sys.argv[1])
learner, batch = here.learner_of("gpt", {"units": 256, "depth": 4}, {"length": 256, "vocabulary": 500})
inputs = {name: np.ones(spec.shape, "int32") for name, spec in batch[0].items()}
targets = {name: np.zeros(spec.shape, "float32") for name, spec in batch[1].items()}
for _ in range(2):
    learner.train_on_batch(inputs, targets)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""


@pytest.mark.slow
def test_memory_grows_with_the_batch_as_planned():
    few, many = 8, 24
    peaks = [json.loads(subprocess.run([sys.executable, "-c", MEASURED, str(count)], capture_output=True, text=True,
                                       check=True).stdout.splitlines()[-1]) for count in (few, many)]
    formula = activations(models.builder("gpt"), {"length": 256, "vocabulary": 500}, {**SETTINGS, "units": 256,
                                                                                     "depth": 4})
    planned = (many - few) * (formula.kept + formula.targets + formula.largest)
    assert planned == pytest.approx(peaks[1] - peaks[0], rel=0.15)
