"""tf.train.Example inputs of Classify, Regress and MultiInference, and the results that become of a signature's
outputs.

Follows servables/tensorflow/{util,classifier,regressor,multi_inference}.cc of TF Serving: same checks, same words.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.errors import failed_precondition, invalid

INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def serialized(value: Any) -> np.ndarray:
    """Return the examples of an Input message, serialized, (examples,); a context is merged into each. Raises
    ServingError where there is none."""
    kind = value.WhichOneof("kind")
    if kind == "example_list":
        result = [one.SerializeToString() for one in value.example_list.examples]
    elif kind == "example_list_with_context":
        result = [_merged(value.example_list_with_context.context, one)
                 for one in value.example_list_with_context.examples]
    else:
        result = []
    if not result:
        raise invalid("Input is empty.")
    array = np.empty(len(result), object)
    array[:] = result
    return array


def _merged(context: Example, example: Example) -> bytes:
    merged = Example()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged.SerializeToString()


def check(signature: Any, name: str, method: str, strict: bool) -> list[str]:
    """Return the outputs to ask a signature for.

    Args:
        method: `CLASSIFY` or `REGRESS`.
        strict: whether the signature's method_name must be that one.

    Raises:
        ServingError: the signature is not of that kind.
    """
    what = "classification" if method == CLASSIFY else "regression"
    if strict and signature.method_name != method:
        raise invalid(f"Expected {what} signature method_name to be {method}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUTS not in signature.inputs:
        raise failed_precondition(f"No {what} inputs found in SignatureDef: {name}")
    requested = [CLASSES, SCORES] if method == CLASSIFY else [OUTPUTS]
    result = [one for one in requested if one in signature.outputs]
    if not result and method == CLASSIFY:
        raise failed_precondition(f'Expected classification signature outputs to contain at least one of "{CLASSES}" '
                                  f'or "{SCORES}". '
                                  f"Signature was: {name}")
    if not result:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {name}")
    return result


def classifications(outputs: Mapping[str, np.ndarray], examples: int) -> Any:
    """ClassificationResult of `classes` (examples, classes), strings, and `scores`, float32; one of them may be
    missing."""
    for name, kind, requested in ((CLASSES, "O", "DT_STRING"), (SCORES, "f", "DT_FLOAT")):
        value = outputs.get(name)
        if value is None:
            continue
        if value.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {list(value.shape)}")
        if value.dtype.kind != kind:
            raise invalid(f"Expected {name} Tensor of {requested}. Got: {value.dtype}")
        if len(value) != examples:
            raise invalid(f"Expected {name} output batch size of {examples}. Got: {len(value)}")
    widths = {value.shape[1] for value in outputs.values()}
    if len(widths) != 1:
        raise invalid("Tensors class and score should match in dim_size(1). Got {} vs. {}".format(*sorted(widths)))
    result = classification_pb2.ClassificationResult()
    labels, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for row in range(examples):
        classes = result.classifications.add().classes
        for place in range(next(iter(widths))):
            classes.add(label=labels[row, place] if labels is not None else "",
                        score=float(scores[row, place]) if scores is not None else 0.0)
    return result


def regressions(outputs: Mapping[str, np.ndarray], examples: int) -> Any:
    """RegressionResult of `outputs`, float32 (examples,) or (examples, 1)."""
    value = outputs[OUTPUTS]
    if value.shape not in ((examples,), (examples, 1)):
        raise invalid("Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
                      f"{list(value.shape)}")
    if value.dtype.kind != "f":
        raise invalid(f"Expected output Tensor of DT_FLOAT. Got: {value.dtype}")
    result = regression_pb2.RegressionResult()
    for one in value.ravel().tolist():
        result.regressions.add(value=one)
    return result
