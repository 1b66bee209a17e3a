"""One loaded version of a model: a SavedModel in a session, as TF Serving holds it, or a TFLite file in a pool of
interpreters."""
from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving import tensors, tflite_signatures
from serving.errors import failed_precondition, invalid, not_found, of_tensorflow
from serving.flags import Options

Arrays = Mapping[str, np.ndarray]
DEFAULT = "serving_default"
PREDICT = "tensorflow/serving/predict"
SAVED_MODEL, TFLITE = ("saved_model.pb", "saved_model.pbtxt"), "model.tflite"


class Servable(Protocol):
    """A model that answers."""

    #: Whether it can be asked in the shapes of its signatures alone.
    fixed_shapes: bool

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """By name, as the file states them."""
        ...

    def run(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the named outputs for checked inputs, arrays by name. Called in any thread. Raises ServingError."""
        ...

    def close(self) -> None:
        """Give its memory back. No request may be in flight."""
        ...


class SavedModelServable:
    """A SavedModel folder of TensorFlow 1 or 2, in a session of its own.

    Args:
        folder: the version folder.
        options: tags and parallelism.

    Raises:
        ServingError: it cannot be loaded; the message is TensorFlow's.
    """

    fixed_shapes = False

    def __init__(self, folder: Path, options: Options):
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=options.tensorflow_intra_op_parallelism
            or options.tensorflow_session_parallelism,
            inter_op_parallelism_threads=options.tensorflow_inter_op_parallelism
            or options.tensorflow_session_parallelism,
            # threads that spin for work take the processor from the protocol's own
            experimental=tf.compat.v1.ConfigProto.Experimental(disable_thread_spinning=True))
        self._calls: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Callable[..., Any]] = {}
        self._making = threading.Lock()
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, options.saved_model_tags.split(","), str(folder))
        except tf.errors.OpError as error:
            self._session.close()
            raise of_tensorflow(error) from error
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, text_format.ParseError) as error:
            self._session.close()
            reason = " ".join(str(error).split())[:300]
            raise not_found(f"Could not load the SavedModel in {folder.name}: {reason}") from error
        self.signatures: dict[str, SignatureDef] = {
            name: signature for name, signature in meta.signature_def.items() if not name.startswith("__")}

    def run(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        names = tuple(inputs)
        key = (signature, names, tuple(outputs))
        call = self._calls.get(key)
        if call is None:
            with self._making:
                call = self._calls.get(key) or self._callable(*key)
                self._calls[key] = call
        try:
            answers = call(*inputs.values())
        except tf.errors.OpError as error:
            raise of_tensorflow(error) from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise invalid(" ".join(str(error).split())[:500]) from error
        return dict(zip(outputs, map(np.asarray, answers), strict=True))

    def _callable(self, signature: str, inputs: Sequence[str], outputs: Sequence[str]) -> Callable[..., Any]:
        """Return what `Session.make_callable` would give, without its way through Session.run at each call, a tenth of
        a millisecond."""
        result = self.signatures[signature]
        return self._session._make_callable_from_options(CallableOptions(
            feed=[result.inputs[name].name for name in inputs], fetch=[result.outputs[name].name for name in outputs]))

    def close(self) -> None:
        self._calls.clear()
        self._session.close()
        self._graph = None


class TFLiteServable:
    """A version folder's model.tflite, in a pool of interpreters of one thread each.

    Every signature of the file is served; its first is `serving_default` too, where none is called so. One without
    signatures is asked by those of its metadata, or by its tensors' names: see `tflite_signatures`. A file of
    a fixed batch of one is asked row by row.

    Args:
        folder: the version folder.
        options: the pool's size.

    Raises:
        ServingError: it cannot be loaded.
    """

    fixed_shapes = True

    def __init__(self, folder: Path, options: Options):
        from ai_edge_litert.interpreter import Interpreter

        path = folder / TFLITE
        count = max(1, options.num_tflite_pools * options.num_tflite_interpreters_per_pool)
        self._free: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for _ in range(count):
            try:
                interpreter = Interpreter(model_path=str(path), num_threads=1)
                runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
                runners = runners or tflite_signatures.runners(interpreter, path.read_bytes())
            except (ValueError, RuntimeError) as error:
                raise invalid(f"Could not load {folder.name}/{TFLITE}: {str(error).splitlines()[0]}") from error
            runners.setdefault(DEFAULT, next(iter(runners.values())))
            self._free.put(runners)
        self.signatures: dict[str, SignatureDef] = {name: _described(runner) for name, runner in runners.items()}

    def run(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        runners = self._free.get()
        try:
            return self._ask(runners[signature], inputs, outputs)
        except (ValueError, RuntimeError) as error:
            raise invalid(" ".join(str(error).split())[:500]) from error
        finally:
            self._free.put(runners)

    @staticmethod
    def _ask(runner: Any, inputs: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        details = runner.get_input_details()
        rows = {len(value) for value in inputs.values() if value.ndim}
        fixed = all(len(detail["shape_signature"]) and detail["shape_signature"][0] == 1 for detail in details.values())
        if not fixed or rows == {1}:
            answer = runner(**inputs)
            return {name: answer[name] for name in outputs}
        if len(rows) != 1:
            raise ValueError("the inputs have different numbers of rows")
        answers = [runner(**{name: value[row:row + 1] for name, value in inputs.items()}) for row in range(rows.pop())]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in outputs}

    def close(self) -> None:
        while True:
            try:
                self._free.get_nowait()
            except queue.Empty:
                return


def _described(runner: Any) -> SignatureDef:
    """Return a TFLite signature as a SignatureDef; a fixed batch of one is open, as it is asked row by row."""
    result = SignatureDef(method_name=PREDICT)
    for details, into in ((runner.get_input_details(), result.inputs), (runner.get_output_details(), result.outputs)):
        for name, detail in details.items():
            into[name].name, into[name].dtype = detail["name"], tensors.number_of(detail["dtype"])
            sizes = [int(size) for size in detail["shape_signature"]]
            for size in [-1, *sizes[1:]] if sizes[:1] == [1] else sizes:
                into[name].tensor_shape.dim.add(size=size)
    return result


def load(folder: Path, options: Options) -> Servable:
    """Load a version's folder: its SavedModel, or its model.tflite where there is none or it is preferred.

    Raises:
        ServingError: there is no model, or it cannot be loaded.
    """
    lite = (folder / TFLITE).is_file()
    if lite and (options.prefer_tflite_model or not has_saved_model(folder)):
        return TFLiteServable(folder, options)
    if not has_saved_model(folder):
        raise not_found(f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}")
    return SavedModelServable(folder, options)


def has_saved_model(folder: Path) -> bool:
    """Return whether a folder holds a SavedModel's graph."""
    return any((folder / name).is_file() for name in SAVED_MODEL)


def check_inputs(servable: Servable, signature: SignatureDef, inputs: Arrays) -> None:
    """Raise ServingError (INVALID_ARGUMENT) where inputs are not what a signature takes: their names and types, and
    for a servable of fixed shapes these. A graph is given other shapes as they are, as TF Serving does, and says itself
    what it cannot compute."""
    received, requested = set(inputs), set(signature.inputs)
    if received != requested:
        raise invalid(f"input size does not match signature: {len(received)}!={len(requested)} "
                      f"len({{{','.join(sorted(received))}}}) != "
                      f"len({{{','.join(sorted(requested))}}}). Sent extra: "
                      f"{{{','.join(sorted(received - requested))}}}. "
                      f"Missing but required: {{{','.join(sorted(requested - received))}}}.")
    for place, (name, value) in enumerate(sorted(inputs.items())):
        info = signature.inputs[name]
        if tensors.number_of(value.dtype) != info.dtype:
            raise invalid(f"Expects arg[{place}] to be {tensors.type_name(info.dtype)} but "
                          f"{tensors.type_name(tensors.number_of(value.dtype))} is provided")
        if servable.fixed_shapes:
            _check_shape(name, value, tensors.dims(info.tensor_shape))


def _check_shape(name: str, value: np.ndarray, sizes: Sequence[int] | None) -> None:
    if sizes is not None and (len(sizes) != value.ndim or any(
            size not in (-1, own) for size, own in zip(sizes, value.shape, strict=True))):
        wanted_shape = ",".join("?" if size < 0 else str(size) for size in sizes)
        raise invalid(f"input {name} has shape [{','.join(map(str, value.shape))}], the signature takes "
                      f"[{wanted_shape}]")


def signature_of(servable: Servable, name: str) -> SignatureDef:
    """Return a signature by its name. Raises ServingError (FAILED_PRECONDITION) where there is none."""
    if name not in servable.signatures:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    return servable.signatures[name]
