"""Microcontrollers: an integer TFLite file as a C++ array for TensorFlow Lite Micro, with the memory that it needs."""
from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from etils import epy

from export.tflite import file as tflite_file

with epy.lazy_imports():
    import numpy as np

BYTES_PER_LINE = 16
#: An arena that holds anything a microcontroller could.
LARGEST_ARENA = 64 * 2**20
ROUND_UP = 1024


def write(content: bytes, name: str, folder: Path) -> tuple[Path, int]:
    """Writes `<name>.cc` and `<name>.h`: the model as an array, the arena's size, and the operators to register.

    Args:
        content: an integer TFLite file.
        name: of the array.
        folder: that exists.

    Returns:
        The .cc file, and the bytes of tensor arena that TensorFlow Lite Micro itself allocates for the model, rounded up to whole kB.
        It is measured on this machine, whose pointers are larger than a microcontroller's, and so a little more than is needed there.

    Raises:
        ValueError: TensorFlow Lite Micro cannot run the model.
    """
    arena = arena_bytes(content)
    symbol = re.sub(r"[^a-z0-9]+", "_", name.lower())
    register = "".join(f"//   resolver.Add{''.join(part.capitalize() if part != '2D' else part for part in operator.split('_'))}();\n"
                       for operator in sorted(tflite_file.operators(content)))
    lines = [", ".join(f"0x{byte:02x}" for byte in content[start:start + BYTES_PER_LINE])
             for start in range(0, len(content), BYTES_PER_LINE)]
    (folder / f"{name}.h").write_text(
        f"// {name} for TensorFlow Lite Micro. Operators to register:\n{register}#pragma once\n\n"
        f"extern const unsigned char k_{symbol}[];\nextern const unsigned int k_{symbol}_bytes;\n"
        f"constexpr unsigned int k_{symbol}_arena_bytes = {arena};\n")
    target = folder / f"{name}.cc"
    target.write_text(f'#include "{name}.h"\n\nalignas(16) const unsigned char k_{symbol}[] = {{\n' + ",\n".join(lines) +
                      f"}};\nconst unsigned int k_{symbol}_bytes = {len(content)};\n")
    return target, arena


def read(path: Path) -> bytes:
    """The TFLite file in a .cc file that `write` wrote. Raises ValueError where there is none."""
    found = re.search(r"\[\] = \{([^}]*)\}", path.read_text())
    if found is None:
        raise ValueError(f"{path} holds no array")
    return bytes(int(byte, 16) for byte in found[1].replace(",", " ").split())


def arena_bytes(content: bytes) -> int:
    """The tensor arena that TensorFlow Lite Micro allocates for a model, as its own recording allocator counts it, in whole kB."""
    runtime = _runtime()
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            runtime.Interpreter.from_bytes(content, arena_size=LARGEST_ARENA).print_allocations()
        except Exception as error:
            raise ValueError(f"TensorFlow Lite Micro cannot run it: {' '.join(str(error).split())[:200]}") from error
        finally:
            for stream, own in zip((1, 2), kept, strict=True):
                os.dup2(own, stream)
                os.close(own)
        file.seek(0)
        found = re.search(rb"Arena allocation total (\d+) bytes", file.read())
    if found is None:
        raise ValueError("TensorFlow Lite Micro does not say how much memory the model needs")
    arena = -(-int(found[1]) // ROUND_UP) * ROUND_UP
    while not _fits(runtime, content, arena):  # planning takes a little more for a while than what is recorded in the end
        arena += ROUND_UP
    return arena


def _fits(runtime: Any, content: bytes, arena: int) -> bool:
    try:
        runtime.Interpreter.from_bytes(content, arena_size=arena)
    except RuntimeError:
        return False
    return True


class MicroRunner:
    """A model of a .cc file on TensorFlow Lite Micro's own kernels, in the arena that the file asks for.

    Args:
        path: the .cc file.
    """

    def __init__(self, path: Path):
        found = re.search(r"arena_bytes = (\d+);", path.with_suffix(".h").read_text())
        if found is None:
            raise ValueError(f"{path.with_suffix('.h')} does not say how large the arena must be")
        self.interpreter = _runtime().Interpreter.from_bytes(read(path), arena_size=int(found[1]))
        given, answered = self.interpreter.get_input_details(0), self.interpreter.get_output_details(0)
        self.input_shape = tuple(int(size) for size in given["shape"][1:])
        self.input, self.output = _end(given), _end(answered)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """One inference: a stored input tensor to the stored output."""
        self.interpreter.set_input(tensor, 0)
        self.interpreter.invoke()
        return self.interpreter.get_output(0)


def _end(detail: dict[str, Any]) -> dict[str, Any]:
    """Type and quantization of a tensor, as LiteRT's interpreter describes it."""
    known = detail["quantization_parameters"]
    quantized = len(known["scales"]) > 0
    return {"dtype": detail["dtype"], "quantization": (float(known["scales"][0]), int(known["zero_points"][0])) if quantized else (0.0, 0)}


def _runtime() -> Any:
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise ValueError("tflite-micro is not installed; .venv/bin/pip install -e '.[microcontroller]' brings it") from error
    return runtime
