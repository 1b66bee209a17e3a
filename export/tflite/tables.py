"""A writer of flatbuffers by the slots of their fields, for schemas of which only few tables are needed."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What the builder calls kinds of numbers.
NUMBERS = {"bool": "Bool", "byte": "Int8", "ubyte": "Uint8", "int": "Int32", "uint": "Uint32", "float": "Float32"}


class Tables:
    """A writer of a flatbuffer's tables, by the slots of their fields."""

    def __init__(self, builder: Any):
        self.builder = builder

    def __call__(self, fields: Mapping[int, tuple[str, Any]]) -> int:
        """Write a table of slot to (kind of value, value); return where it is."""
        written = {slot: (kind, self._placed(kind, value)) for slot, (kind, value) in fields.items()}
        self.builder.StartObject(max(fields, default=-1) + 1)
        for slot, (kind, value) in written.items():
            if kind in NUMBERS:
                getattr(self.builder, f"Prepend{NUMBERS[kind]}Slot")(slot, value, None)
            else:
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return self.builder.EndObject()

    def _placed(self, kind: str, value: Any) -> Any:
        if kind == "text":
            return self.builder.CreateString(value)
        if kind == "bytes":
            self.builder.StartVector(1, len(value), 16)  # readers want a flatbuffer in it at multiples of 16
            for byte in reversed(value):
                self.builder.PrependByte(byte)
            return self.builder.EndVector()
        if kind == "floats":
            return self._vector(value, self.builder.PrependFloat32)
        if kind == "uints":
            return self._vector(value, self.builder.PrependUint32)
        if kind == "tables":
            return self._vector(value, self.builder.PrependUOffsetTRelative)
        return value

    def _vector(self, values: Sequence[Any], prepend: Any) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return self.builder.EndVector()
