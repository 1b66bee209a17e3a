"""Runs TFLite files where nothing is but Python, NumPy and LiteRT: `python arm64_guest.py INPUTS.npz OUT.npz MODEL...`.

INPUTS.npz holds `input.NAME` for each input, its first axis the examples; OUT.npz gets `NUMBER.NAME` for each output of
each model.
"""
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

DEFAULT = "serving_default"


def predict(path, inputs):
    """Return a file's outputs by name, as real numbers, for inputs by name; one example after the other."""
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    names = list(interpreter.get_signature_list())
    runner = interpreter.get_signature_runner(DEFAULT if DEFAULT in names else names[0])
    taken, value = runner.get_input_details(), runner.get_output_details()
    if len(taken) == 1 and len(inputs) == 1:
        inputs = dict(zip(taken, inputs.values(), strict=True))
    stored = {name: to_tensor(inputs[name], detail) for name, detail in taken.items()}
    parts: dict = {name: [] for name in value}
    for position in range(len(next(iter(stored.values())))):
        outputs = runner(**{name: values[position:position + 1] for name, values in stored.items()})
        for name, detail in value.items():
            parts[name].append(to_real(outputs[name], detail))
    return {name: np.concatenate(values) for name, values in parts.items()}


def to_tensor(values, detail):
    """Return real numbers as a tensor stores them; grey images in the three channels that an input takes."""
    scale, zero = detail["quantization"]
    if values.ndim == 4 and values.shape[-1] == 1 and detail["shape"][-1] == 3:
        values = np.repeat(values, 3, axis=-1)
    if scale:
        limits = np.iinfo(detail["dtype"])
        values = np.clip(np.round(values.astype("float32") / scale) + zero, limits.min, limits.max)
    return values if values.dtype.kind == "S" else values.astype(detail["dtype"])


def to_real(stored, detail):
    """Return what the numbers of a tensor stand for."""
    scale, zero = detail["quantization"]
    return (stored.astype("float32") - zero) * np.float32(scale) if scale else stored


if __name__ == "__main__":
    source, target, *models = sys.argv[1:]
    with np.load(source) as file:
        inputs = {name.partition(".")[2]: file[name] for name in file}
    np.savez(target, **{f"{number}.{name}": values for number, path in enumerate(models)
                        for name, values in predict(path, inputs).items()})
