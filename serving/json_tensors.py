"""JSON of TF Serving's REST API to tensors, by the rules of its util/json_tensor.cc, in its words.

Differences: a value's own text stands in an error cut to 200 characters (the original echoes it whole), and lists
nested deeper than `DEEPEST` are refused (the original's parser runs out of stack).
"""
from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from serving import tensors
from serving.errors import invalid

#: Lists in lists; numpy knows no more dimensions.
DEEPEST = 64
LIMITS = {"float": float(np.finfo(np.float32).max), "double": float(np.finfo(np.float64).max)}
Infos = Mapping[str, Any]


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that a request's body holds. Raises ServingError."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        result = _loaded(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    except RecursionError as error:
        raise invalid("JSON Parse error: nested too deep") from error
    except (UnicodeDecodeError, ValueError) as error:  # no UTF-8, an integer of thousands of digits
        raise invalid(f"JSON Parse error: {str(error)[:200]}") from error
    if not isinstance(result, dict):
        raise invalid(f"JSON Value: {text_of(result)} Is not object")
    return result


def _loaded(body: bytes) -> Any:
    """Return what a body holds: by orjson; by Python's own parser where it has what no JSON has, NaN and Infinity, or
    is broken."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def fill_predict(document: dict[str, Any], request: Any, infos_of: Callable[[str], Infos], plain: bool = False) -> bool:
    """Fill a PredictRequest; whether the request is in row format.

    Args:
        document: the parsed body.
        infos_of: the TensorInfos of a signature's inputs, by name.
        plain: there is no true and no false in the body.
    """
    request.model_spec.signature_name = signature_name(document)
    infos = infos_of(request.model_spec.signature_name)
    if not infos:
        raise invalid(f"Failed to get input map for signature: {request.model_spec.signature_name or 'DEFAULT'}")
    if "instances" in document and "inputs" in document:
        raise invalid(f"JSON Value: {text_of(document)} Not formatted correctly expecting only one of 'inputs' or "
                      "'instances' keys to "
                      "exist ")
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {text_of(document)} Excepting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {text_of(document)} No values in 'instances' array")
        _fill_rows(instances, infos, request.inputs, plain)
        return True
    if "inputs" in document:
        _fill_columns(document["inputs"], infos, request.inputs, plain)
        return False
    raise invalid("Missing 'inputs' or 'instances' key")


def signature_name(document: dict[str, Any]) -> str:
    """Return the signature that a body names, or nothing. Raises ServingError."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"JSON Value: {text_of(document)} not formatted correctly. 'signature_name' key must be a string "
                      "value.")
    return name


def _fill_rows(instances: list[Any], infos: Infos, into: Any, plain: bool) -> None:
    objects = _is_object(instances[0])
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid("instances is a plain list, but expecting list of objects as multiple input tensors required as "
                      "per tensorinfo_map")
    columns: dict[str, list[Any]] = {name: [] for name in infos}
    for place, item in enumerate(instances):
        if objects:
            if not _is_object(item):
                raise invalid(f"Expecting object but got list at item {place} of input list")
            for name in item:
                if name not in infos:
                    raise invalid(f"Failed to process element: {place} key: {name} of 'instances' list. Error: "
                                  "INVALID_ARGUMENT: "
                                  f"JSON object: does not have named input: {name}")
            if set(item) != set(infos):
                raise invalid(f"Failed to process element: {place} of 'instances' list. JSON object: {text_of(item)} "
                              "keys must be equal "
                              f"to: {','.join(sorted(infos))}")
            for name, value in item.items():
                columns[name].append(value)
        else:
            if _is_object(item):
                raise invalid(f"Expecting value/list but got object at item {place} of input list")
            columns[next(iter(infos))].append(item)
    for name, column in columns.items():
        try:
            tensors.to_proto(_array(column, infos[name].dtype, plain), into[name], packed=True)
        except NotFitting as error:
            key = f" key: {name}" if objects else ""
            raise invalid(f"Failed to process element: {error.place[0] if error.place else 0}{key} of 'instances' "
                          "list. "
                          f"Error: INVALID_ARGUMENT: {error}") from error


def _fill_columns(value: Any, infos: Infos, into: Any, plain: bool) -> None:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required as "
                          "per tensorinfo_map")
        value = {next(iter(infos)): value}
    for name in infos:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        try:
            tensors.to_proto(_array(value[name], infos[name].dtype, plain), into[name], packed=True)
        except NotFitting as error:
            raise invalid(str(error)) from error


class NotFitting(ValueError):
    """A value that does not fit, and where it stands."""

    def __init__(self, message: str, place: tuple[int, ...]):
        super().__init__(message)
        self.place = place


def _quickly(value: Any, kind: Any, name: str) -> np.ndarray | None:
    """Return the same for numbers that all fit, as numpy reads them; None where one may not."""
    requested = np.dtype(kind).kind
    if requested not in "fiu":
        return None
    try:
        result = np.array(value)
    except (ValueError, OverflowError):
        return None
    if requested == "f" and result.dtype.kind in "fi" and result.size:
        largest = np.abs(result[np.isfinite(result)] if result.dtype.kind == "f" else result).max(initial=0)
        return result.astype(kind) if largest < 2 ** 24 or result.dtype == kind else None
    limits = np.iinfo(kind) if requested != "f" else None
    if limits is None or result.dtype.kind != "i" or not result.size:
        return None
    fits = result.min() >= limits.min and result.max() <= limits.max
    return result.astype(kind) if fits else None


def _array(value: Any, number: int, plain: bool = False) -> np.ndarray:
    """Return a nested list as an array of a type.

    Args:
        plain: there is no true and no false in it, which numpy would take for numbers.

    Raises:
        NotFitting: with the first value that does not fit.
    """
    kind = tensors.KINDS.get(number, (None, ""))[0]
    name = tensors.type_name(number)
    if kind is None or np.dtype(kind).kind not in "fiubO":
        raise NotFitting(f"Conversion of JSON Value: {text_of(value)} to type: {name}", ())
    quick = _quickly(value, kind, name) if plain else None
    if quick is not None:
        return quick
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
        if len(shape) > DEEPEST:
            raise NotFitting(f"nested deeper than {DEEPEST} lists", ())
    flat: list[Any] = []
    _flatten(value, shape, 0, (), flat)
    return _typed(flat, number, kind, name, shape).reshape(shape)


def _flatten(value: Any, shape: list[int], level: int, place: tuple[int, ...], flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise NotFitting(f"JSON Value: {text_of(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                             "Expected at level: "
                             f"{len(shape)}", place)
        flat.append(value)
    elif level >= len(shape):
        raise NotFitting(f"Encountered list at unexpected level: {level} expected < {len(shape)}", place)
    elif len(value) != shape[level]:
        raise NotFitting(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
                         f"{shape[level]}", place)
    elif level == len(shape) - 1 and not any(isinstance(one, list) for one in value):
        flat.extend(value)
    else:
        for number, one in enumerate(value):
            _flatten(one, shape, level + 1, (*place, number), flat)


def _typed(flat: list[Any], number: int, kind: Any, name: str, shape: list[int]) -> np.ndarray:
    kinds = set(map(type, flat))
    numeric = np.dtype(kind).kind
    if numeric == "O" and kinds <= {str, dict}:
        result = np.empty(len(flat), object)
        result[:] = [value.encode() if isinstance(value, str) else decoded(value, _at(place, shape)) for place,
                    value in enumerate(flat)]
        return result
    by_kind: dict[str, set[type]] = {"f": {int, float}, "b": {bool}, "O": {str, dict}}
    fits = by_kind.get(numeric, {int})
    if kinds <= fits:
        limit = LIMITS.get(name, math.inf)
        made: np.ndarray | None = None
        with contextlib.suppress(OverflowError):
            made = np.array(flat, np.float64 if numeric == "f" else kind)
        exact = 2 ** 24 if name == "float" else 2 ** 53
        if made is not None and numeric != "f":
            return made
        if made is not None and name in ("half", "bfloat16"):
            return made.astype(kind)
        largest = np.abs(made[np.isfinite(made)]).max(initial=0) if made is not None else math.inf
        if made is not None and largest <= limit and (int not in kinds or largest < exact):
            return made.astype(kind)
    for place, value in enumerate(flat):
        _check(value, fits, name, kind, _at(place, shape))
    return np.array(flat, kind)


def _check(value: Any, fits: set[type], name: str, kind: Any, place: tuple[int, ...]) -> None:
    if type(value) not in fits or (fits == {int} and not np.iinfo(kind).min <= value <= np.iinfo(kind).max):
        raise NotFitting(f"JSON Value: {text_of(value)} Type: {type_of(value)} is not of expected type: {name}", place)
    if isinstance(value, float) and math.isfinite(value) and abs(value) > LIMITS.get(name, math.inf):
        raise NotFitting(f"Cannot convert JSON value: {text_of(value)} to {name} without loss of precision.", place)
    if float in fits and isinstance(value, int) and abs(value) > (2 ** 24 if name == "float" else 2 ** 53) - 1:
        raise NotFitting(f"Cannot convert JSON value: {text_of(value)} to {name} without loss of precision.", place)


def _at(place: int, shape: list[int]) -> tuple[int, ...]:
    return tuple(int(one) for one in np.unravel_index(place, shape)) if shape else ()


def decoded(value: dict[str, Any], place: tuple[int, ...] = ()) -> bytes:
    """Return the bytes of `{"b64": …}`. Raises NotFitting."""
    if not is_base64(value):
        raise NotFitting(f"JSON Value: {text_of(value)} not formatted correctly for base64 data", place)
    try:
        return base64.b64decode(value["b64"] + "=" * (-len(value["b64"]) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotFitting("Unable to base64 decode", place) from error


def is_base64(value: Any) -> bool:
    """Return whether a value is `{"b64": …}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def text_of(value: Any) -> str:
    """Return a value's own text, cut, for an error."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        text = "…"
    return text if len(text) <= 200 else text[:200] + "…"


def type_of(value: Any) -> str:
    """JSON's name of a value's type, as the original writes it."""
    return {type(None): "Null", dict: "Object", list: "Array",
            str: "String"}.get(type(value), str(value) if isinstance(value, bool) else
                                                                                   "Number")
