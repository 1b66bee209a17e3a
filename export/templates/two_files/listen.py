"""Listens to recordings with the two files of this bundle's model: the front end, and the network behind it.

    pip install ai-edge-litert numpy
    python listen.py RECORDING.wav [RECORDING.wav]

It takes WAV files of 16 bits and one channel at the model's rate, and prints what the model says of each.
"""
from __future__ import annotations

import json
import sys
import wave
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

#: Of this bundle, two folders above this file.
FOLDER = Path(__file__).resolve().parents[2]


class File:
    """A TFLite file of one input and one output, called with real numbers, whatever it stores."""

    def __init__(self, path: Path):
        self.interpreter = Interpreter(model_path=str(path))
        self.interpreter.allocate_tensors()
        (self.taken,) = self.interpreter.get_input_details()
        (self.given,) = self.interpreter.get_output_details()

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the output for one input, without the batch."""
        scale, zero = self.taken["quantization"]
        if scale:
            known = np.iinfo(self.taken["dtype"])
            values = np.clip(np.round(values / scale) + zero, known.min, known.max)
        self.interpreter.set_tensor(self.taken["index"], values[None].astype(self.taken["dtype"]))
        self.interpreter.invoke()
        outputs = self.interpreter.get_tensor(self.given["index"])[0]
        scale, zero = self.given["quantization"]
        return (outputs.astype("float32") - zero) * scale if scale else outputs


class Model:
    """The front end and the network.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path = FOLDER):
        described = json.loads((folder / "model.json").read_text())
        self.about = next(one for one in described["models"] if "front_end" in one and one["target"] == "litert")
        self.labels = described["labels"]
        self.front_end = File(folder / self.about["front_end"]["path"])
        self.network = File(folder / self.about["network"]["path"])

    def run(self, samples: np.ndarray) -> np.ndarray:
        """Return the logits of a recording, (classes,) or (frames, classes).

        Args:
            samples: -1..1; what is too short has silence behind it, what is too long is cut off.
        """
        heard = np.zeros(self.front_end.taken["shape"][1], "float32")
        kept = samples[:len(heard)]
        heard[:len(kept)] = kept
        return self.network.run(self.front_end.run(heard))

    def words(self, logits: np.ndarray) -> str:
        """Return what logits say: the best class, or of each frame the best label, repeated ones once, without the
        blank, number 0."""
        best = logits.argmax(axis=-1)
        if best.ndim == 0:
            return self.labels[int(best)]
        changed = np.concatenate([[True], best[1:] != best[:-1]])
        return "".join(self.labels[int(label)] for label in best[changed] if label)

    def read(self, path: Path) -> np.ndarray:
        """Return the samples of a WAV file. Raises ValueError where it is of another kind."""
        with wave.open(str(path)) as file:
            kind = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            if kind != (self.about["rate"], 1, 2):
                raise ValueError(f"{path}: {kind[0]} samples a second, {kind[1]} channels, {8 * kind[2]} bits; the "
                                 f"model takes {self.about['rate']}, 1, 16")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype("float32") / 32768


def main(names: list[str]) -> None:
    model = Model()
    for name in names:
        print(f"{name}: {model.words(model.run(model.read(Path(name))))}")


if __name__ == "__main__":
    main(sys.argv[1:])
