"""A model of two named inputs and two named outputs, with numbers that can be computed by hand, in every format."""
import numpy as np
import pytest

from export.signature import Tensor

#: Inputs that are not in alphabetical order, as a file may sort them; outputs of two sizes.
INPUTS = (Tensor(name="image", dtype="float32", shape=(6, 6, 3), role="image"),
          Tensor(name="age", dtype="float32", shape=(2,)))
OUTPUTS = (Tensor(name="logits", dtype="float32", shape=(4,), role="logits"),
           Tensor(name="hours", dtype="float32", shape=(2,)))


@pytest.fixture(scope="session")
def weights():
    """By layer."""
    generator = np.random.default_rng(3)
    return {"mix": generator.normal(size=(3, 4)) / 100, "shift": generator.normal(size=(2, 4)),
            "hours": generator.normal(size=(2, 2))}


@pytest.fixture(scope="session")
def expected(weights):
    """What inputs give, in NumPy: logits = the image's mean by channel @ mix + age @ shift; hours = age @ hours."""
    def compute(inputs):
        image, age = (np.asarray(inputs[name], "float64") for name in ("image", "age"))
        logits = image.mean(axis=(1, 2)) @ weights["mix"] + age @ weights["shift"]
        return {"logits": logits, "hours": age @ weights["hours"]}

    return compute


@pytest.fixture(scope="session")
def examples():
    """Inputs of examples."""
    def draw(count=7, channels=3, seed=0):
        generator = np.random.default_rng(seed)
        return {"image": generator.integers(0, 256, (count, 6, 6, channels)).astype("uint8"),
                "age": generator.uniform(-1, 1, (count, 2)).astype("float32")}

    return draw


@pytest.fixture(scope="session")
def model(weights):
    """The Keras model."""
    import keras

    image, age = (keras.Input(tensor.shape, name=tensor.name) for tensor in INPUTS)
    mixed = keras.layers.Dense(4, use_bias=False, name="mix")(keras.layers.GlobalAveragePooling2D()(image))
    shifted = keras.layers.Dense(4, use_bias=False, name="shift")(age)
    logits = keras.layers.Add(name="logits")([mixed, shifted])
    model = keras.Model({"image": image, "age": age},
                        {"logits": logits, "hours": keras.layers.Dense(2, use_bias=False, name="hours")(age)})
    for name, value in weights.items():
        model.get_layer(name).set_weights([value])
    return model


@pytest.fixture(scope="session")
def saved(weights, tmp_path_factory):
    """A SavedModel of the model for any batch, and one for a batch of one; each has a signature `doubled` too."""
    import tensorflow as tf

    def answer(image, age):
        mix, shift, hours = (tf.constant(weights[name], tf.float32) for name in ("mix", "shift", "hours"))
        return {"logits": tf.reduce_mean(image, axis=(1, 2)) @ mix + age @ shift, "hours": age @ hours}

    def write(folder, batch):
        module = tf.Module()
        specs = [tf.TensorSpec((batch, *tensor.shape), tensor.dtype, tensor.name) for tensor in INPUTS]
        module.answer = tf.function(answer, input_signature=specs)
        module.doubled = tf.function(lambda tokens: {"tokens": tokens * 2},
                                     input_signature=[tf.TensorSpec((batch, 3), tf.int32, "tokens")])
        tf.saved_model.save(module, str(folder), {"serving_default": module.answer, "doubled": module.doubled})
        return folder

    folder = tmp_path_factory.mktemp("saved")
    return {"any": write(folder / "any", None), "one": write(folder / "one", 1)}


@pytest.fixture(scope="session")
def converted(saved, examples, tmp_path_factory):
    """TFLite files: float32, int8, int8 with the first graph alone and no signatures, float32 with both signatures."""
    import tensorflow as tf

    from export.tflite import file as tflite_file

    folder = tmp_path_factory.mktemp("converted")

    def convert(name, signatures, integer=False):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved["one"]), signature_keys=signatures)
        if integer:
            calibration = examples(50, seed=1)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                ("serving_default", {key: value[one:one + 1].astype("float32") for key, value in calibration.items()})
                for one in range(50))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())
        return folder / f"{name}.tflite"

    files = {"float32": convert("float32", ["serving_default"]),
             "int8": convert("int8", ["serving_default"], integer=True),
             "both": convert("both", ["serving_default", "doubled"])}
    bare = tflite_file.read(files["float32"].read_bytes())
    bare.signatureDefs = []
    files["bare"] = folder / "bare.tflite"
    files["bare"].write_bytes(tflite_file.write(bare))
    return files


@pytest.fixture(scope="session")
def graph_file(weights, tmp_path_factory):
    """The model as an ONNX file, made operator by operator, and as OpenVINO's."""
    onnx = pytest.importorskip("onnx")
    openvino = pytest.importorskip("openvino")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
             helper.make_node("MatMul", ["mean", "mix"], ["mixed"]),
             helper.make_node("MatMul", ["age", "shift"], ["shifted"]),
             helper.make_node("Add", ["mixed", "shifted"], ["logits"]),
             helper.make_node("MatMul", ["age", "hours_weights"], ["hours"])]
    constants = [numpy_helper.from_array(value.astype("float32"), {"hours": "hours_weights"}.get(name, name))
                 for name, value in weights.items()]
    values = [[helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, (1, *tensor.shape)) for tensor in tensors]
              for tensors in (INPUTS, OUTPUTS)]
    graph = helper.make_graph(nodes, "model", *values, constants)
    folder = tmp_path_factory.mktemp("graph")
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(content)
    onnx.save(content, str(folder / "model.onnx"))
    read = openvino.convert_model(str(folder / "model.onnx"))
    openvino.save_model(read, str(folder / "model.xml"), compress_to_fp16=False)
    return {"onnx": folder / "model.onnx", "openvino": folder / "model.xml"}


@pytest.fixture(scope="session")
def files(model, saved, converted, graph_file, tmp_path_factory):
    """Kind to the file or folder of the model."""
    from export.keras_models import file as keras_file
    from export.targets import microcontroller

    folder = tmp_path_factory.mktemp("files")
    keras_file.save(model, folder / "model.keras")
    array, _ = microcontroller.write(converted["int8"].read_bytes(), "model", folder)
    return {"keras": folder / "model.keras", "saved_model": saved["any"], "saved_model of one": saved["one"],
            "litert": converted["float32"], "litert int8": converted["int8"], "micro": array, **graph_file}
