"""JSON of TF Serving's REST API to tf.train.Examples, by the rules of its util/json_tensor.cc, in its words."""
from __future__ import annotations

import math
from typing import Any

from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature

from serving.errors import invalid
from serving.json_tensors import LIMITS, NotFitting, decoded, is_base64, signature_name, text_of, type_of


def fill_examples(document: dict[str, Any], request: Any) -> None:
    """Fill a ClassificationRequest or RegressionRequest."""
    request.model_spec.signature_name = signature_name(document)
    value = request.input
    within = "context" in document
    if within:
        _fill_example(document["context"], value.example_list_with_context.context)
    if "examples" not in document:
        raise invalid(f"JSON Value: {text_of(document)} When method is classify, key 'examples' is expected and was "
                      "not found")
    if not isinstance(document["examples"], list):
        raise invalid(f"JSON Value: {text_of(document)} Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise invalid(f"JSON Value: {text_of(document)} 'examples' value is an empty array")
    into = (value.example_list_with_context if within else value.example_list).examples
    for one in document["examples"]:
        _fill_example(one, into.add())


def _fill_example(value: Any, example: Example) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_of(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for one in content if isinstance(content, list) else [content]:
            _add(one, name, feature)


def _add(value: Any, name: str, feature: Feature) -> None:
    if isinstance(value, str) or is_base64(value):
        try:
            _list(feature, "bytes", name).append(value.encode() if isinstance(value, str) else decoded(value))
        except NotFitting as error:
            raise invalid(str(error)) from error
    elif isinstance(value, float):
        if math.isfinite(value) and abs(value) > LIMITS["float"]:
            raise invalid(f"Cannot convert JSON value: {text_of(value)} to float without loss of precision.")
        _list(feature, "float", name).append(value)
    elif isinstance(value, int):
        if not -2 ** 63 <= value < 2 ** 63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        _list(feature, "int64", name).append(int(value))
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_of(value)}")


def _list(feature: Feature, kind: str, name: str) -> Any:
    known = feature.WhichOneof("kind")
    if known not in (None, f"{kind}_list"):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {known.removesuffix('_list')}")
    return getattr(feature, f"{kind}_list").value
