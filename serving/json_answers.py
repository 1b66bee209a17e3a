"""Tensors to the JSON of TF Serving's REST API, by the rules of its util/json_tensor.cc, in its words."""
from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import invalid


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return the answer in row format: `predictions`, a list of values, or of objects where there are several
    outputs."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    sizes: set[int] = set()
    for name, value in sorted(outputs.items()):
        if not value.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if sizes and len(value) not in sizes:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(value)} expecting: "
                          f"{next(iter(sizes))}")
        sizes.add(len(value))
    columns = {name: _plain(value, name) for name, value in sorted(outputs.items())}
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))})
    return _dump({"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]})


def outputs(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return the answer in column format: `outputs`, a value, or an object where there are several outputs."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    columns = {name: _plain(value, name) for name, value in sorted(outputs.items())}
    return _dump({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})


def results(value: Any) -> bytes:
    """Return the answer to classify or regress."""
    return _dump({"results": value})


def error(message: str) -> bytes:
    """Return the body of an error."""
    return json.dumps({"error": message}, indent=4).encode()


def _plain(value: np.ndarray, name: str) -> Any:
    if value.dtype == object:
        return _strings(value.tolist(), name.endswith("_bytes"))
    if value.dtype in (np.float32, np.float64) or value.dtype.kind in "iub":
        return shortest(value).tolist() if value.dtype == np.float32 else value.tolist()
    if value.dtype.itemsize == 2:
        return shortest(value.astype(np.float32)).tolist()
    raise invalid(f"Failed to write JSON value for tensor type: {value.dtype}")


def shortest(value: np.ndarray) -> np.ndarray:
    """float32 as the float64 whose shortest text is the float32's shortest text: 0.2, not 0.20000000298."""
    if not value.size:
        return value.astype(np.float64)
    return value.astype(str).astype(np.float64).reshape(value.shape)


def _strings(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_strings(one, as_bytes) for one in value]
    raw = value if isinstance(value, bytes) else str(value).encode()
    return {"b64": base64.b64encode(raw).decode()} if as_bytes else raw.decode("utf-8", "replace")


def _dump(value: Any) -> bytes:
    return json.dumps(value, indent=None, separators=(",", ": ")).encode()


def number(value: float) -> float:
    """Return a float32 that became a float, as its shortest text has it."""
    return float(str(np.float32(value)))
