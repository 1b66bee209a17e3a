"""Microcontrollers: an integer TFLite file as a C++ array for TensorFlow Lite Micro, with the memory that it needs."""
from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import IO, Any

from export.tflite import file as tflite_file

BYTES_PER_LINE = 16
#: An arena that holds anything a microcontroller could.
LARGEST_ARENA = 64 * 2**20
ROUND_UP = 1024


def write(content: bytes, name: str, folder: Path) -> tuple[Path, int]:
    """Write `<name>.cc` and `<name>.h`: the model as an array, the arena's size, and the operators to register.

    Args:
        content: an integer TFLite file.
        name: of the array.
        folder: that exists.

    Returns:
        The .cc file, and the bytes of tensor arena that TensorFlow Lite Micro itself allocates for the model, rounded
        up to whole kB. It is measured on this machine, whose pointers are larger than a microcontroller's, and so a
        little more than is needed there.

    Raises:
        ValueError: TensorFlow Lite Micro cannot run the model.
    """
    arena = arena_bytes(content)
    symbol = re.sub(r"[^a-z0-9]+", "_", name.lower())
    operators = sorted(tflite_file.operators(content))
    register = "".join(f"//   resolver.Add{_camel_case(operator)}();\n" for operator in operators)
    lines = [", ".join(f"0x{byte:02x}" for byte in content[start:start + BYTES_PER_LINE])
             for start in range(0, len(content), BYTES_PER_LINE)]
    (folder / f"{name}.h").write_text(
        f"// {name} for TensorFlow Lite Micro. Operators to register:\n{register}#pragma once\n\n"
        f"extern const unsigned char k_{symbol}[];\nextern const unsigned int k_{symbol}_bytes;\n"
        f"constexpr unsigned int k_{symbol}_arena_bytes = {arena};\n")
    target = folder / f"{name}.cc"
    array = ",\n".join(lines)
    target.write_text(f'#include "{name}.h"\n\nalignas(16) const unsigned char k_{symbol}[] = {{\n{array}}};\n'
                      f"const unsigned int k_{symbol}_bytes = {len(content)};\n")
    return target, arena


def _camel_case(operator: str) -> str:
    return "".join(part if part == "2D" else part.capitalize() for part in operator.split("_"))


def read(path: Path) -> bytes:
    """Return the TFLite file in a .cc file that `write` wrote. Raises ValueError where there is none."""
    array = re.search(r"\[\] = \{([^}]*)\}", path.read_text())
    if array is None:
        raise ValueError(f"{path} holds no array")
    return bytes(int(byte, 16) for byte in array[1].replace(",", " ").split())


def arena_bytes(content: bytes) -> int:
    """Return the bytes of the tensor arena that TensorFlow Lite Micro allocates for a model, in whole kB, as its own
    recording allocator counts it. Raises ValueError where it cannot run the model."""
    micro = runtime()
    if "RFFT2D" in tflite_file.operators(content):
        raise ValueError("TensorFlow Lite Micro has no RFFT2D, by which this file transforms sound; give the model's "
                         "front end the form convolution (model.front.form)")
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            micro.Interpreter.from_bytes(content, arena_size=LARGEST_ARENA).print_allocations()
        except Exception as error:
            raise ValueError(f"TensorFlow Lite Micro cannot run it: {_reason(file) or error}") from error
        finally:
            for stream, own in zip((1, 2), kept, strict=True):
                os.dup2(own, stream)
                os.close(own)
        file.seek(0)
        total = re.search(rb"Arena allocation total (\d+) bytes", file.read())
    if total is None:
        raise ValueError("TensorFlow Lite Micro does not say how much memory the model needs")
    arena = -(-int(total[1]) // ROUND_UP) * ROUND_UP
    while not _fits(micro, content, arena):  # planning takes a little more than what is recorded in the end
        arena += ROUND_UP
    return arena


def _reason(file: IO[bytes]) -> str:
    """Return the first line that TensorFlow Lite Micro wrote, which names the operator that it has not."""
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[0].strip()[:200] if lines else ""


def _fits(micro: Any, content: bytes, arena: int) -> bool:
    try:
        micro.Interpreter.from_bytes(content, arena_size=arena)
    except RuntimeError:
        return False
    return True


def runtime() -> Any:
    """Return TensorFlow Lite Micro's Python module. Raises ValueError where it is not installed."""
    try:
        from tflite_micro import runtime as module
    except ImportError as error:
        raise ValueError("tflite-micro is not installed; "
                         ".venv/bin/pip install -e '.[microcontroller]' brings it") from error
    return module
