"""Asks the model of this bundle about texts: a short one is read by the shortest signature that it fits into.

    pip install ai-edge-litert numpy
    python buckets.py "some text" ["another"]
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizer import Tokenizer

#: Of this bundle, two folders above this file.
FOLDER = Path(__file__).resolve().parents[2]
#: How the names of the signatures of shorter texts begin.
UP_TO = "up_to_"


class Model:
    """The first file of the bundle with signatures for shorter texts.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path = FOLDER):
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        about = next(one for one in described["models"] if one["target"] == "litert" and any(
            name.startswith(UP_TO) for name in one.get("other_signatures", {})))
        self.labels = described["labels"]
        interpreter = Interpreter(model_path=str(folder / about["path"]))
        names = [*(name for name in about["other_signatures"] if name.startswith(UP_TO)), about["signature"]]
        runners = [interpreter.get_signature_runner(name) for name in names]
        (self.input,), (self.output,) = (list(details) for details in (
            runners[0].get_input_details(), runners[0].get_output_details()))
        lengths = [int(runner.get_input_details()[self.input]["shape"][1]) for runner in runners]
        #: Length of its texts and what asks it, for each signature, the shortest first.
        self.buckets = sorted(zip(lengths, runners, strict=True), key=lambda one: one[0])

    def run(self, tokens: list[int]) -> np.ndarray:
        """Return what the model gives for a text.

        Args:
            tokens: as the tokenizer makes them; 0 behind the last.
        """
        size = max((place for place, token in enumerate(tokens, 1) if token), default=0)
        length, runner = next((one for one in self.buckets if one[0] >= size > 0), self.buckets[-1])
        padded = [*tokens[:length], *[0] * (length - len(tokens))]
        values = runner(**{self.input: np.array([padded], np.int32)})[self.output][0]
        scale, zero = runner.get_output_details()[self.output]["quantization"]
        return (values.astype("float32") - zero) * scale if scale else values

    def words(self, values: np.ndarray) -> str:
        """Return the best class where there are such, and otherwise the numbers."""
        return self.labels[int(values.argmax())] if self.labels else " ".join(f"{value:.6f}" for value in values)


def main(texts: list[str]) -> None:
    tokenizer = Tokenizer(json.loads((FOLDER / "tokenizer.json").read_text(encoding="utf-8")))
    model = Model()
    for text in texts:
        print(model.words(model.run(tokenizer.tokens(text))))


if __name__ == "__main__":
    main(sys.argv[1:])
