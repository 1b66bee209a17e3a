"""No file runs code of its maker, whatever its format: it is looked at before it is loaded."""
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.keras_models import foreign_code
from export.keras_models.load import load

RAN = Path("ran.txt")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leaves_a_trace(library, path):
    """Save a model whose Lambda writes a file whenever it is called."""
    trace = eval(f"lambda x: (open({str(RAN)!r}, 'a').write('ran'), x * 2.0)[1]")
    layers = library.layers
    inputs = library.Input((6, 6, 3))
    x = layers.Lambda(trace, name="trace", output_shape=(6, 6, 3))(inputs)
    library.Model(inputs, layers.Dense(3)(layers.Flatten()(x))).save(path)
    RAN.unlink(missing_ok=True)
    return path


@pytest.mark.parametrize(("library", "name"), [
    (keras, "three.keras"), (keras, "three.h5"), (tf_keras, "two.h5"), (tf_keras, "two.keras"), (tf_keras, "two")])
def test_a_lambda_is_not_run(library, name):
    path = leaves_a_trace(library, Path(name))
    expected = r"holds Python code in the Lambda layer trace\. Nothing of it was run"
    with pytest.raises(foreign_code.ForeignCodeError, match=expected) as refused:
        load(path)
    assert not RAN.exists() and "--allow-code" in str(refused.value) and "\n" not in str(refused.value)


def test_a_lambda_inside_an_inner_model_is_found():
    inner = tf_keras.Sequential([tf_keras.layers.InputLayer((4,)), tf_keras.layers.Lambda(lambda x: x, name="deep")])
    tf_keras.Sequential([tf_keras.layers.InputLayer((4,)), inner, tf_keras.layers.Dense(2)]).save("nested.h5")
    with pytest.raises(foreign_code.ForeignCodeError, match="the Lambda layer deep"):
        load(Path("nested.h5"))


def plain(path):
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]).save(path)
    return Path(path)


def changed_archive(change):
    """Return a .keras file whose members a function has changed, in place, before they were written again."""
    with zipfile.ZipFile(plain("whole.keras")) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile("changed.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return Path("changed.keras")


def configured(change):
    def change_members(members):
        config = json.loads(members["config.json"])
        change(config["config"]["layers"][-1])
        members["config.json"] = json.dumps(config)
    return changed_archive(change_members)


@pytest.mark.parametrize(("make", "expected"), [
    (lambda: changed_archive(lambda members: members.update({"../outside.txt": b"x"})),
     r"has a member \.\./outside\.txt, which leaves the folder"),
    (lambda: changed_archive(lambda members: members.update({"/etc/outside.txt": b"x"})), "which leaves the folder"),
    (lambda: configured(lambda layer: layer.update(class_name="TFSMLayer")), "loads another model's folder in the "
                                                                           "TFSMLayer layer dense"),
    (lambda: configured(lambda layer: layer.update(class_name="TorchModuleWrapper")), "holds a pickle"),
    (lambda: configured(lambda layer: layer["config"].update(activation={"class_name": "__lambda__", "config": {}})),
     "holds Python code"),
    (lambda: configured(lambda layer: layer["config"].update(vocabulary="/etc/passwd")),
     "reads another file, /etc/passwd"),
    (lambda: configured(lambda layer: layer.update(module="os.path", registered_name=None)),
     "needs Dense, which is not registered here"),
    (lambda: configured(lambda layer: layer["config"].update(kernel_initializer={
        "class_name": "get", "module": "tensorflow.python.ops.init_ops_v2", "config": {}})), "needs get, which is not"),
    (lambda: configured(lambda layer: layer.update(
        class_name="TFOpLambda", config={"name": "op", "function": "io.write_file"})), r"calls tf\.io\.write_file")])
def test_what_a_keras_file_would_do_is_said(make, expected):
    with pytest.raises(foreign_code.ForeignCodeError, match=expected):
        load(make())


def test_an_initializer_of_tensorflow_passes():
    inputs = tf_keras.Input((4,))
    tf_keras.Model(inputs, tf_keras.layers.Dense(2, kernel_initializer=tf.constant_initializer(0.5))(inputs)).save(
        "model.h5")
    foreign_code.check(Path("model.h5"))
    assert np.asarray(load(Path("model.h5"))(np.ones((1, 4), "float32"))).tolist() == [[2, 2]]


@pytest.mark.parametrize("name", ["bomb.bin", "model.weights.h5"])
def test_what_declares_to_be_much_larger_than_it_is_is_refused(name):
    path = changed_archive(lambda members: members.update({name: bytes(80 * 2**20)}))
    with pytest.raises(ValueError, match=f"declares 84 MB for {name}"):
        load(path)


def external_link(file):
    file["model_weights/else"] = h5py.ExternalLink("/etc/hosts", "/")


def external_values(file):
    file.create_dataset("else", (4,), "float32", external=[("other.bin", 0, 16)])


def huge(file):
    file.create_dataset("else", (10**6, 10**6), "float32", chunks=(1000, 1000))


@pytest.mark.parametrize(("change", "expected"), [
    (external_link, "points at another file, /etc/hosts, for /model_weights/else"),
    (external_values, "keeps the values of /else in another file"),
    (huge, "declares 4,000,000 MB for /else")])
def test_an_hdf5_file_that_points_elsewhere_or_says_too_much_is_refused(change, expected):
    path = plain("model.h5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(ValueError, match=expected):
        load(path)


def test_a_graph_that_writes_files_or_calls_python_is_refused(folder):
    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def answer(self, x):
            tf.io.write_file("stolen.txt", "secret")
            return x * 2

    class Calls(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def answer(self, x):
            return tf.numpy_function(np.negative, [x], tf.float32)

    for name, module, operator in (("writes", Writes(), "WriteFile, which writes files"),
                                   ("calls", Calls(), "PyFunc, which calls Python")):
        tf.saved_model.save(module, name, signatures={"serving_default": module.answer})
        with pytest.raises(foreign_code.ForeignCodeError, match=f"has the operator {operator}"):
            foreign_code.check(Path(name))
    assert not (folder / "stolen.txt").exists()


def test_ordinary_files_pass(folder):
    foreign_code.check(plain("fine.keras"))
    foreign_code.check(plain("fine.h5"))
    inputs = tf_keras.Input((4, 4, 3))
    x = tf.nn.relu6(inputs[..., ::-1] / 127.5 - 1.0)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(x)))
    for name in ("fine2.h5", "fine2"):
        model.save(name)
        foreign_code.check(Path(name))
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]).export("graph", verbose=False)
    foreign_code.check(Path("graph"))


@keras.saving.register_keras_serializable("known")
class Lambda(keras.layers.Layer):
    """A layer of one's own that is registered is known, whatever it is called."""

    def call(self, x):
        return x + 1


def test_a_registered_layer_is_no_foreign_code():
    keras.Sequential([keras.Input((6,)), Lambda(), keras.layers.Dense(3)]).save("own.keras")
    foreign_code.check(Path("own.keras"))
