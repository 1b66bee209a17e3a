"""Runs TFLite files where nothing but Python, NumPy and LiteRT is: `python arm64_guest.py IMAGES.npy OUT.npz MODEL.tflite...`."""
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def answers(path, images):
    """The logits (examples, classes) of one picture after the other, real numbers."""
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    (name, given), (output, answered) = next(iter(runner.get_input_details().items())), next(iter(runner.get_output_details().items()))
    if images.shape[-1] == 1 and given["shape"][-1] == 3:
        images = np.repeat(images, 3, axis=-1)
    found = []
    for image in images:
        value = image[None].astype("float32")
        scale, zero = given["quantization"]
        if scale:
            limits = np.iinfo(given["dtype"])
            value = np.clip(np.round(value / scale) + zero, limits.min, limits.max)
        result = runner(**{name: value.astype(given["dtype"])})[output].astype("float32")
        scale, zero = answered["quantization"]
        found.append((result - zero) * np.float32(scale) if scale else result)
    return np.concatenate(found)


if __name__ == "__main__":
    images, target, *models = sys.argv[1:]
    pictures = np.load(images)
    np.savez(target, **{str(number): answers(path, pictures) for number, path in enumerate(models)})
