"""Pruning, clustering and low rank: what the weights are promised to be, they are, in the file that ships too."""
import keras
import numpy as np
import pytest
import tf_keras

from export.compression import cluster, low_rank, prune, qat
from export.conversion import convert
from export.keras_models import graph
from export.tflite import file as tflite_file
from tests.export.compression.conftest import calibration, functions

IMAGES = np.random.default_rng(0).integers(0, 256, (128, 8, 8, 3)).astype("float32")
TARGETS = np.eye(3, dtype="float32")[np.arange(128) % 3]


@pytest.fixture
def model():
    """A small network with a depthwise convolution, batch normalization and an operation of keras.ops."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", name="first")(inputs / 128.0)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.Conv2D(32, 1, activation="hard_silu", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


def train(prepared, callbacks=(), epochs=3):
    prepared.compile(tf_keras.optimizers.Adam(1e-3), tf_keras.losses.CategoricalCrossentropy(from_logits=True))
    prepared.fit(IMAGES, TARGETS, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return prepared


def kernels(model):
    return {layer.name: np.asarray(layer.kernel) for layer in prune.reducible(model)}


def shipped_weights(aware, folder):
    """The 8-bit weights of convolutions and dense layers in the file, depthwise ones aside."""
    qat.float_graph(aware, functions, folder / "graph")
    model = tflite_file.read(convert.convert(folder / "graph", "int8", calibration(IMAGES[:50].astype("uint8"))))
    tensors = model.subgraphs[0].tensors
    return [tflite_file.constant(model, tensors[operator.inputs[1]])
            for name, operator in tflite_file.own_operators(model) if name in ("CONV_2D", "FULLY_CONNECTED")]


def pruned(model, **settings):
    sparse = train(prune.prepare(model, 0.75, steps=24, **settings), prune.callbacks())
    prune.take_over(model, sparse)
    return model


@pytest.mark.parametrize("constant", [False, True])
def test_three_quarters_of_each_layers_weights_become_zeros(model, constant):
    pruned(model, constant=constant)
    for name, kernel in kernels(model).items():
        assert (kernel == 0).mean() == pytest.approx(0.75, abs=1.5 / kernel.size + 0.005), name
    assert prune.sparsity(model) == pytest.approx(0.75, abs=0.01)
    assert (np.asarray(model.get_layer("depthwise").kernel) != 0).all()


def test_layers_that_are_kept_dense_are_dense(model):
    pruned(model, keep_dense=["first"])
    assert (kernels(model)["first"] != 0).all() and (kernels(model)["second"] == 0).mean() > 0.7
    with pytest.raises(ValueError, match="no layer thrid"):
        prune.prepare(model, 0.5, steps=10, keep_dense=["thrid"])


def test_two_of_every_four_neighbours_are_zeros(model):
    pruned(model, two_of_four=True)
    kernel = kernels(model)["second"]  # (1, 1, 16, 32): the sparse axis is that of the inputs
    groups = (kernel.reshape(16, 32).T.reshape(32, 4, 4) == 0).sum(axis=2)
    assert (groups == 2).all()


def test_clustered_layers_have_so_many_different_weights(model):
    cluster.take_over(model, train(cluster.prepare(model, 8)))
    counts = {name: len(np.unique(kernel)) for name, kernel in kernels(model).items()}
    assert counts == {"first": 8, "second": 8, "logits": 8}
    assert cluster.different_weights(model) == 8


def test_clusters_keep_zeros(model):
    pruned(model)
    before = {name: kernel == 0 for name, kernel in kernels(model).items()}
    cluster.take_over(model, train(cluster.prepare(model, 8, preserve_sparsity=True)))
    for name, kernel in kernels(model).items():
        assert (kernel[before[name]] == 0).all(), name
        assert len(np.unique(kernel)) <= 9


def test_training_with_rounding_keeps_zeros_in_the_file(model, tmp_path):
    pruned(model)
    for weights in shipped_weights(train(qat.prepare(model, preserve="sparsity")), tmp_path):
        assert (weights == 0).mean() >= 0.74


def test_training_with_rounding_keeps_clusters_in_the_file(model, tmp_path):
    """A cluster of real values is one integer per scale; each output channel has its own scale."""
    cluster.take_over(model, train(cluster.prepare(model, 8)))
    for weights in shipped_weights(train(qat.prepare(model, preserve="clusters")), tmp_path):
        assert max(len(np.unique(channel)) for channel in weights) <= 8


def test_integers_are_grouped_with_the_least_error():
    """Against every way there is to cut eight values into three groups."""
    import itertools

    generator = np.random.default_rng(0)
    values = np.sort(generator.choice(np.arange(-20, 20), 8, replace=False)).astype(float)
    counts = generator.integers(1, 9, 8)

    def error(cuts):
        parts = [slice(*ends) for ends in itertools.pairwise((0, *cuts, 8))]
        return sum((counts[part] * (values[part] - np.average(values[part], weights=counts[part])) ** 2).sum()
                   for part in parts)

    means = cluster.nearest_groups(values, counts, 3)
    assert len(np.unique(means)) == 3
    least = min(map(error, itertools.combinations(range(1, 8), 2)))
    assert (counts * (values - means) ** 2).sum() == pytest.approx(least)


def test_a_file_of_one_scale_per_layer_has_so_many_different_integers(model, tmp_path):
    """Normalization scales each channel on its own, and would make many integers of one shared value."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(np.linspace(0.5, 2, 16))
    pruned(model)
    cluster.take_over(model, train(cluster.prepare(model, 8, preserve_sparsity=True)))
    convert.float_graph(model, functions, tmp_path / "graph")
    content = convert.convert(tmp_path / "graph", "int8", calibration(IMAGES[:50].astype("uint8")), per_channel=False)

    def weights(content, kinds=("CONV_2D", "FULLY_CONNECTED")):
        file = tflite_file.read(content)
        return [tflite_file.constant(file, file.subgraphs[0].tensors[operator.inputs[1]])
                for name, operator in tflite_file.own_operators(file) if name in kinds]

    shared = cluster.share_integers(content, 8)
    before, after = weights(content), weights(shared)
    assert max(len(np.unique(one)) for one in before) > 8 >= max(len(np.unique(one)) for one in after)
    for one, two in zip(before, after, strict=True):
        assert (two[one == 0] == 0).all() and np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.99
    for one, two in zip(weights(content, ("DEPTHWISE_CONV_2D",)), weights(shared, ("DEPTHWISE_CONV_2D",)), strict=True):
        assert (one == two).all()


def test_low_rank_with_all_energy_is_the_same_function():
    """A layer whose kernel is of rank 2 is found to be so, whatever its shape."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((9, 9, 4))
    full = keras.layers.Conv2D(8, (3, 5), (2, 1), padding="same", activation="relu", name="conv")
    model = keras.Model(inputs,
                        keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(full(inputs))))
    generator = np.random.default_rng(0)
    vertical, horizontal = generator.normal(size=(3, 4, 2)), generator.normal(size=(2, 5, 8))
    full.kernel.assign(np.einsum("hir,rwo->hwio", vertical, horizontal).astype("float32"))
    thin = low_rank.factorized(model, 0.9999999)
    assert thin.get_layer("conv_vertical").filters == 2
    images = generator.normal(size=(5, 9, 9, 4)).astype("float32")
    np.testing.assert_allclose(thin(images), model(images), rtol=1e-4, atol=1e-4)


def test_low_rank_keeps_the_name_of_a_bare_output():
    inputs = keras.Input((40,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(30, name="logits")(keras.layers.Dense(40, name="hidden")(inputs)))
    thin = low_rank.factorized(model, 0.3)
    assert [layer.name for layer in thin.layers] == ["x", "hidden_narrow", "hidden_wide", "logits_narrow", "logits"]
    assert graph.output_names(thin) == ["logits"]


def test_low_rank_is_as_near_as_its_energy_says(model):
    generator = np.random.default_rng(0)
    kernel = model.get_layer("second").kernel
    of_rank_3 = generator.normal(size=(16, 3)) @ generator.normal(size=(3, 32))
    noisy = of_rank_3 + 0.05 * generator.normal(size=(16, 32))
    kernel.assign(noisy.reshape(kernel.shape).astype("float32"))
    thin = low_rank.factorized(model, 0.97)
    assert thin.count_params() < model.count_params()
    first, second = (np.asarray(thin.get_layer(f"second_{which}").kernel)[0, 0] for which in ("vertical", "horizontal"))
    whole = np.asarray(kernel)[0, 0]
    lost = ((first @ second - whole) ** 2).sum() / (whole**2).sum()
    assert 0 < lost <= 0.03
    assert thin.get_layer("depthwise") is model.get_layer("depthwise")
