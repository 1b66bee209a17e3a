"""Signatures of TFLite files that state none where the format has them now: in metadata of old converters, or not at
all."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.errors import invalid

#: What TensorFlow Lite calls the metadata that holds signatures, a map from their keys to SignatureDef messages
#: (tensorflow/lite/tools/signature/signature_def_util.h).
METADATA = "signature_defs_metadata"
#: The key of the signature that a file without any is served by.
DEFAULT = "serving_default"

Details = Mapping[str, Mapping[str, Any]]


class Runner:
    """Asks an interpreter by names of its tensors; what LiteRT's SignatureRunner is for a file that has signatures.

    Args:
        interpreter: of the file.
        inputs, outputs: name to what LiteRT says of the tensor.
    """

    def __init__(self, interpreter: Any, inputs: Details, outputs: Details):
        self.interpreter = interpreter
        self.inputs, self.outputs = inputs, outputs
        interpreter.allocate_tensors()

    def get_input_details(self) -> Details:
        return self.inputs

    def get_output_details(self) -> Details:
        return self.outputs

    def __call__(self, **values: np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs. Raises ValueError or RuntimeError as the interpreter does."""
        sizes = {name: self.interpreter.get_tensor(detail["index"]).shape for name, detail in self.inputs.items()}
        if any(sizes[name] != value.shape for name, value in values.items()):
            for name, value in values.items():
                self.interpreter.resize_tensor_input(self.inputs[name]["index"], value.shape)
            self.interpreter.allocate_tensors()
        for name, value in values.items():
            self.interpreter.set_tensor(self.inputs[name]["index"], value)
        self.interpreter.invoke()
        return {name: self.interpreter.get_tensor(detail["index"]) for name, detail in self.outputs.items()}


def runners(interpreter: Any, content: bytes) -> dict[str, Runner]:
    """Return the signatures of a file that has none of its own: those of its metadata, or one of its tensors' names.

    Raises:
        ServingError: the metadata is broken, or names a tensor that is not there.
    """
    inputs, outputs = ({_plain(one["name"]): one for one in details}
                       for details in (interpreter.get_input_details(), interpreter.get_output_details()))
    stated = _stated(content)
    if not stated:
        return {DEFAULT: Runner(interpreter, inputs, outputs)}
    return {key: Runner(interpreter, _chosen(definition.inputs, inputs, key),
                        _chosen(definition.outputs, outputs, key)) for key, definition in stated.items()}


def _stated(content: bytes) -> dict[str, SignatureDef]:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for entry in model.metadata or []:
        if entry.name.decode() == METADATA:
            try:
                packed = flexbuffers.Loads(bytes(model.buffers[entry.buffer].data))
                return {key: SignatureDef.FromString(value if isinstance(value, bytes) else value.encode("latin-1"))
                        for key, value in packed.items()}
            except (DecodeError, AttributeError, ValueError, IndexError, TypeError) as error:
                raise invalid(f"the signatures in the file's metadata cannot be read: {error}") from error
    return {}


def _chosen(requested: Any, tensors: Details, key: str) -> dict[str, Mapping[str, Any]]:
    """Return the tensors that a stated signature names."""
    chosen = {}
    for name, info in requested.items():
        tensor = _plain(info.name)
        if tensor not in tensors:
            raise invalid(f"signature {key} names the tensor {tensor}, which the file does not have")
        chosen[name] = tensors[tensor]
    return chosen


def _plain(name: str) -> str:
    """Return a tensor's name without TensorFlow's `:0`."""
    return name.removesuffix(":0")
