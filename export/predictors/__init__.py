"""One `predict` over every format: a Keras model, a TFLite file, a SavedModel, an ONNX file, an OpenVINO model."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from etils import epy

from export.keras_models import file as keras_file

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

IMAGE, LOGITS = "image", "logits"


class Predictor(Protocol):
    """Anything that predicts."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, (height, width, channels)."""
        ...

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for a batch of inputs by name; the first axis of each array counts the examples.

        Pictures are raw pixels, uint8 (examples, height, width, channels).
        """
        ...

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """One inference on one example whose input is in place already: what a benchmark times."""
        ...


class KerasPredictor:
    """A Keras model, from its .keras file.

    Args:
        path: the file.
        batch: examples at a time.
    """

    def __init__(self, path: Path, batch: int = 256):
        self.model, self.batch = keras_file.load(path), batch
        self._answer = tf.function(lambda image: self.model(image, training=False), reduce_retracing=True)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, (height, width, channels)."""
        return tuple(self.model.input_shape[1:])

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs[IMAGE]
        parts = [self._answer(tf.constant(images[start:start + self.batch], tf.float32)).numpy()
                 for start in range(0, len(images), self.batch)]
        return {LOGITS: np.concatenate(parts)}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        image = tf.constant(inputs[IMAGE], tf.float32)
        return lambda: self._answer(image).numpy()


class LiteRTPredictor:
    """A TFLite file, one picture at a time as on a phone, through its first signature.

    Integer inputs and outputs are quantized and dequantized by the scale and zero point that the file states.

    Args:
        path: the file.
        threads: processor threads to use.

    Raises:
        ValueError: the file is no TFLite model.
    """

    def __init__(self, path: Path, threads: int = 1):
        self.path, self.threads = path, threads
        interpreter = self._interpreter()
        self.runner = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list()), None))
        self.inputs, self.outputs = self.runner.get_input_details(), self.runner.get_output_details()
        #: What files that were made elsewhere call the picture and the logits.
        self.names = {next(iter(known)): name for known, name in ((self.inputs, IMAGE), (self.outputs, LOGITS)) if len(known) == 1}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, (height, width, channels)."""
        return tuple(int(size) for size in next(iter(self.inputs.values()))["shape"][1:])

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        prepared = {name: to_tensor(in_colours(inputs[self.names.get(name, name)], detail["shape"]), detail)
                    for name, detail in self.inputs.items()}
        answers: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        for place in range(len(next(iter(prepared.values())))):
            answer = self.runner(**{name: values[place:place + 1] for name, values in prepared.items()})
            for name, value in answer.items():
                answers[name].append(value)
        return {self.names.get(name, name): to_real(np.concatenate(values), self.outputs[name]) for name, values in answers.items()}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        interpreter = self._interpreter()
        for name, detail in self.inputs.items():
            given = in_colours(inputs[self.names.get(name, name)], detail["shape"])
            interpreter.set_tensor(detail["index"], to_tensor(given, detail))
        return interpreter.invoke

    def _interpreter(self):
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=str(self.path), num_threads=self.threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{self.path} is no TFLite model that LiteRT can run: {str(error).splitlines()[0]}") from error
        return interpreter


def in_colours(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Grey pictures (examples, height, width, 1) repeated to three channels where a file takes RGB."""
    return np.repeat(images, 3, axis=-1) if images.ndim == 4 and images.shape[-1] == 1 and len(shape) == 4 and shape[-1] == 3 else images


def to_tensor(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Real numbers as a tensor of LiteRT's wants them: quantized by the scale and zero point that its file states."""
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def to_real(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """What the numbers in a tensor of LiteRT's stand for."""
    scale, zero = detail["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


class SavedModelPredictor:
    """A SavedModel folder, through its `serving_default` signature.

    Args:
        folder: the version folder.
        batch: examples at a time.
    """

    def __init__(self, folder: Path, batch: int = 256):
        try:
            self.loaded = tf.saved_model.load(str(folder))
        except OSError as error:
            raise ValueError(f"{folder} is no SavedModel: {str(error).splitlines()[0]}") from error
        self.signature, self.batch = self.loaded.signatures["serving_default"], batch

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, (height, width, channels)."""
        return tuple(self.signature.structured_input_signature[1][IMAGE].shape[1:])

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs[IMAGE]
        parts = [self.signature(image=tf.constant(images[start:start + self.batch])) for start in range(0, len(images), self.batch)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        image = tf.constant(inputs[IMAGE])
        return lambda: self.signature(image=image)[LOGITS].numpy()


class ONNXPredictor:
    """An ONNX file on ONNX Runtime's CPU provider, one picture at a time.

    Args:
        path: the file; from `image` to `logits`.
        threads: processor threads to use.

    Raises:
        ValueError: the file cannot be read, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"{path} wants ONNX Runtime: .venv/bin/pip install -e '.[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"{path} is no ONNX file that ONNX Runtime can run: {str(error).splitlines()[0]}") from error
        given = self.session.get_inputs()[0]
        self.input_name, self.dtype = given.name, {"tensor(uint8)": "uint8"}.get(given.type, "float32")
        self.input_shape = tuple(given.shape[1:])

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs[IMAGE].astype(self.dtype)
        return {LOGITS: np.concatenate([self.session.run(None, {self.input_name: image[None]})[0] for image in images])}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        fed = {self.input_name: inputs[IMAGE].astype(self.dtype)}
        return lambda: self.session.run(None, fed)


class MicroPredictor:
    """A C++ array of an integer model, on TensorFlow Lite Micro's own kernels, one picture at a time.

    Args:
        path: the .cc file, its .h beside it.
        threads: one, whatever is asked for.

    Raises:
        ValueError: the file holds no model, or tflite-micro is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        from export.targets.microcontroller import MicroRunner

        self.runner = MicroRunner(path)
        self.input_shape = self.runner.input_shape

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        stored = to_tensor(inputs[IMAGE], self.runner.input)
        return {LOGITS: to_real(np.concatenate([self.runner.run(one[None]) for one in stored]), self.runner.output)}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        stored = to_tensor(inputs[IMAGE], self.runner.input)
        return lambda: self.runner.run(stored)


class CoreMLPredictor:
    """A Core ML package, one picture at a time. Core ML runs on macOS alone.

    Args:
        path: the .mlpackage.
        threads: Core ML's own choice, whatever is asked for.

    Raises:
        ValueError: the package cannot be read, or this is no macOS.
    """

    def __init__(self, path: Path, threads: int = 1):
        import sys

        if sys.platform != "darwin":
            raise ValueError(f"{path} runs on macOS alone; here its structure can be read")
        try:
            import coremltools

            self.model: Any = coremltools.models.MLModel(str(path))
        except ImportError as error:
            raise ValueError(f"{path} wants coremltools: .venv/bin/pip install -e '.[coreml]'") from error
        except Exception as error:
            raise ValueError(f"{path} is no package that Core ML can run: {str(error).splitlines()[0]}") from error
        given = self.model.get_spec().description.input[0]
        self.input_shape = tuple(int(size) for size in given.type.multiArrayType.shape)[1:]

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs[IMAGE].astype("float32")
        return {LOGITS: np.concatenate([self.model.predict({IMAGE: image[None]})[LOGITS] for image in images])}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        fed = {IMAGE: inputs[IMAGE].astype("float32")}
        return lambda: self.model.predict(fed)


class OpenVINOPredictor:
    """An OpenVINO model on the CPU, one picture at a time, computed in float32 where it is not integer: the CPU's own choice may be
    bfloat16, which is off by percents. On x86 processors without VNNI OpenVINO's integer kernels add in 16 bits and saturate, so integer
    models are computed there as what their numbers stand for.

    Args:
        path: the .xml file, its .bin beside it; from `image` to `logits`.
        threads: processor threads to use.

    Raises:
        ValueError: the model cannot be read, or OpenVINO is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            import openvino
        except ImportError as error:
            raise ValueError(f"{path} wants OpenVINO: .venv/bin/pip install -e '.[openvino]'") from error
        try:
            self.compiled = openvino.Core().compile_model(str(path), "CPU", {
                "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                "LP_TRANSFORMS_MODE": "NO" if _saturates() else "YES"})
        except Exception as error:
            raise ValueError(f"{path} is no model that OpenVINO can run: {str(error).splitlines()[0]}") from error
        given = self.compiled.input(0)
        self.input_shape, self.dtype = tuple(given.shape)[1:], given.element_type.to_dtype()

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = inputs[IMAGE].astype(self.dtype)
        return {LOGITS: np.concatenate([self.compiled(image[None])[0] for image in images])}

    def prepared(self, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        request = self.compiled.create_infer_request()
        request.set_input_tensor(0, _tensor(inputs[IMAGE].astype(self.dtype)))
        return request.infer


def _saturates() -> bool:
    """Whether this is an x86 processor that multiplies 8-bit integers without VNNI or AMX."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags)


def _tensor(values: np.ndarray) -> Any:
    import openvino

    return openvino.Tensor(np.ascontiguousarray(values))


def open_predictor(path: Path, threads: int | None = None) -> Predictor:
    """The predictor for a file or folder, by its kind.

    Args:
        path: a .tflite, .keras, .onnx or .xml file, or a SavedModel's version folder.
        threads: processor threads to use; TensorFlow's choice, and one for the others, where not given.

    Raises:
        ValueError: the kind is not known, or what runs it is not installed.
    """
    by_thread: dict[str, Callable[[Path, int], Predictor]] = {
        ".tflite": LiteRTPredictor, ".onnx": ONNXPredictor, ".xml": OpenVINOPredictor, ".cc": MicroPredictor,
        ".mlpackage": CoreMLPredictor}
    if path.suffix in by_thread:
        return by_thread[path.suffix](path, threads or 1)
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if path.suffix == ".keras":
        return KerasPredictor(path)
    if (path / "saved_model.pb").exists():
        return SavedModelPredictor(path)
    raise ValueError(f"{path} is nothing that can predict: give a .tflite, .keras or .onnx file, OpenVINO's .xml, or a SavedModel's "
                     "version folder")
