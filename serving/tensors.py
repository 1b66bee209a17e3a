"""TensorProto and numpy, with limits on what a message may promise.

A TensorProto of a few bytes may claim a shape of gigabytes: TensorFlow repeats the last value to fill it. Here the
shape is looked at first.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.framework.types_pb2 import DataType

from serving.errors import ServingError, invalid

#: The type's number to numpy's type and the field that holds its values (tensorflow/core/framework/tensor.proto).
KINDS: dict[int, tuple[Any, str]] = {
    1: (np.float32, "float_val"), 2: (np.float64, "double_val"), 3: (np.int32, "int_val"), 4: (np.uint8, "int_val"),
    5: (np.int16, "int_val"), 6: (np.int8, "int_val"), 7: (np.object_, "string_val"), 8: (np.complex64, "scomplex_val"),
    9: (np.int64, "int64_val"), 10: (np.bool_, "bool_val"), 14: (ml_dtypes.bfloat16, "half_val"),
    17: (np.uint16, "int_val"),
    18: (np.complex128, "dcomplex_val"), 19: (np.float16, "half_val"), 22: (np.uint32, "uint32_val"),
    23: (np.uint64, "uint64_val")}
STRING = 7
_NUMBERS = {np.dtype(kind): number for number, (kind, _) in KINDS.items()}
#: No array that a request promises may be larger, in bytes.
LARGEST = 1 << 30
#: numpy knows no more.
MOST_DIMENSIONS = 64


def type_name(number: int) -> str:
    """TensorFlow's name of a type: `float`, `uint8`, `string`."""
    try:
        return DataType.Name(number).removeprefix("DT_").lower()
    except ValueError:
        return f"type {number}"


def dims(shape: TensorShapeProto) -> list[int] | None:
    """Return the sizes of a shape, -1 where one is open; None where not even the rank is known."""
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def to_array(proto: TensorProto, name: str) -> np.ndarray:
    """Return the array of a TensorProto.

    Args:
        name: of the input, for the error.

    Raises:
        ServingError: INVALID_ARGUMENT, where the message holds no tensor or promises more than `LARGEST` bytes.
    """
    if proto.dtype not in KINDS:
        raise invalid(f"tensor parsing error: {name}: {type_name(proto.dtype)} is not a type that can be sent")
    kind, field = KINDS[proto.dtype]
    sizes = dims(proto.tensor_shape)
    if sizes is None or any(size < 0 for size in sizes):
        raise invalid(f"tensor parsing error: {name}: its shape is not fully known")
    count, width = math.prod(sizes), 8 if proto.dtype == STRING else np.dtype(kind).itemsize
    # none of nothing's sizes may be beyond what numpy counts, either
    promised = math.prod(max(size, 1) for size in sizes) * width
    if promised > LARGEST or len(sizes) > MOST_DIMENSIONS:
        raise invalid(f"tensor parsing error: {name}: shape {sizes} promises {promised:,} bytes, more than {LARGEST:,}"
                      if promised > LARGEST else f"tensor parsing error: {name}: {len(sizes)} dimensions, more than "
                                                 f"{MOST_DIMENSIONS}")
    if proto.tensor_content and proto.dtype != STRING:
        if len(proto.tensor_content) != count * width:
            raise invalid(f"tensor parsing error: {name}: shape {sizes} of {type_name(proto.dtype)} takes "
                          f"{count * width:,} bytes, "
                          f"tensor_content has {len(proto.tensor_content):,}")
        return np.frombuffer(proto.tensor_content, kind).reshape(sizes)
    values = getattr(proto, field)
    if len(values) > (count * 2 if field.endswith("complex_val") else count):
        raise invalid(f"tensor parsing error: {name}: shape {sizes} has {count:,} values, the message {len(values):,}")
    return _filled(_values(values, field, kind, proto.dtype, name), count, kind).reshape(sizes)


def _values(values: Iterable[Any], field: str, kind: Any, number: int, name: str) -> np.ndarray:
    if number == STRING:
        result = np.empty(len(list(values)), object)
        result[:] = list(values)
        return result
    if field == "half_val":
        return np.array(values, np.int64).astype(np.uint16).view(kind)
    if field.endswith("complex_val"):
        parts = np.array(values, np.float32 if kind is np.complex64 else np.float64)
        return parts.view(kind) if len(parts) % 2 == 0 else _odd(name)
    value = np.array(values)
    if field == "int_val" and len(value) and (value.min() < np.iinfo(kind).min or value.max() > np.iinfo(kind).max):
        raise invalid(f"tensor parsing error: {name}: a value is out of the range of {type_name(number)}")
    return value.astype(kind)


def _odd(name: str) -> np.ndarray:
    raise invalid(f"tensor parsing error: {name}: a complex number lacks its imaginary part")


def _filled(values: np.ndarray, count: int, kind: Any) -> np.ndarray:
    """As many values as the shape takes: the last is repeated, as TensorFlow does; nothing given is zeros."""
    if len(values) == count:
        return values
    if not len(values):
        return np.full(count, b"", object) if kind is np.object_ else np.zeros(count, kind)
    return np.concatenate([values, np.repeat(values[-1:], count - len(values))])


def to_proto(array: np.ndarray, proto: TensorProto, *, packed: bool = False) -> None:
    """Write an array into a TensorProto: its values one by one, as TF Serving answers, or packed as `tensor_content`.

    Raises:
        ServingError: INTERNAL, for a type that cannot be sent.
    """
    number = number_of(array.dtype)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = KINDS[number][1]
    flat = array.ravel()
    if packed and number != STRING:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    elif number == STRING:
        proto.string_val.extend(value.encode() if isinstance(value, str) else bytes(value) for value in flat.tolist())
    elif field == "half_val":
        proto.half_val.extend(np.ascontiguousarray(flat).view(np.uint16).tolist())
    elif field.endswith("complex_val"):
        getattr(proto, field).extend(flat.view(flat.real.dtype).tolist())
    else:
        getattr(proto, field).extend(flat.tolist())


def number_of(dtype: Any) -> int:
    """Return the number of a numpy type; byte and Unicode strings are strings. Raises ServingError (INTERNAL) for a
    type that cannot be sent."""
    import grpc

    if np.dtype(dtype).kind in "SUO":
        return STRING
    if np.dtype(dtype) not in _NUMBERS:
        raise ServingError(grpc.StatusCode.INTERNAL, f"{dtype} cannot be sent as a tensor")
    return _NUMBERS[np.dtype(dtype)]
