"""What is asked of a table's model: columns as one vector on a device; on a server columns by name with words as text,
or tf.train.Example messages."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature, Tensor

with epy.lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The input that holds all columns.
VECTOR = "columns"
WORD = "text; what is not in the vocabulary counts as unknown, and the empty text as missing"


def as_vector(columns: Signature) -> Signature:
    """Return the signature that takes columns as one vector."""
    listed = ", ".join(f"{number} {tensor.name}" for number, tensor in enumerate(columns.inputs))
    vector = Tensor(name=VECTOR, dtype="float32", shape=(len(columns.inputs),), meaning=f"the columns: {listed}",
                    parts=columns.inputs)
    return columns.model_copy(update={"inputs": (vector,)})


def of_vector(function: Function) -> Function:
    """Return the function that takes columns as one vector, positions in vocabularies as real numbers."""
    columns = function.signature.inputs

    def call(**tensors: Any) -> dict[str, Any]:
        vector = tensors[VECTOR]
        return function.call(**{tensor.name: tf.cast(vector[:, number], tensor.dtype)
                                for number, tensor in enumerate(columns)})

    return Function(as_vector(function.signature), call)


def with_words(function: Function, data: Data) -> Function:
    """Return the function that takes words as text where the given one takes their positions."""
    words = [name for name in data.index.inputs if data.features[name].entry_name == "category"]
    inputs = tuple(tensor.model_copy(update={"dtype": "string", "role": "text", "meaning": WORD})
                   if tensor.name in words else tensor for tensor in function.signature.inputs)

    def call(**tensors: Any) -> dict[str, Any]:
        decoded = {name: data.features[name].decode(tensors[name], data.index.learnt[name]) for name in words}
        return function.call(**{**tensors, **decoded})

    return Function(function.signature.model_copy(update={"inputs": inputs}), call)


def of_examples(function: Function, name: str) -> Function:
    """Return the function that takes tf.train.Example messages, a feature for each column, in place of columns. A
    feature that an example does not have is missing.

    Args:
        function: of columns, see `with_words`.
        name: of the new signature.
    """
    columns = function.signature.inputs
    kinds = {"string": "bytes", "float32": "float"}
    described = ", ".join(f"{tensor.name} ({kinds[tensor.dtype]})" for tensor in columns)
    examples = Tensor(name="inputs", dtype="string", shape=(), role="text",
                      meaning=f"tf.train.Example with {described}")

    def call(inputs: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(inputs, {
            tensor.name: tf.io.FixedLenFeature([], tensor.dtype, "" if tensor.dtype == "string" else float("nan"))
            for tensor in columns})
        return function.call(**parsed)

    return Function(Signature(name=name, inputs=(examples,), outputs=function.signature.outputs), call)


def regress(function: Function) -> Function:
    """Return the function of TF Serving's Regress call: `outputs`, a value for each example.

    Args:
        function: of tf.train.Example messages to `value`.
    """
    value = function.signature.outputs[0].model_copy(update={"name": "outputs"})

    def call(inputs: Any) -> dict[str, Any]:
        return {"outputs": function.call(inputs=inputs)["value"]}

    return Function(function.signature.model_copy(update={"outputs": (value,)}), call)
