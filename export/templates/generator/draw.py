"""Makes pictures out of noise with the model of this bundle, the same for the same seed, without litepress.

    pip install ai-edge-litert numpy
    python draw.py --seed 7 --count 4 --out pictures

noise.py, diffusion.py and sampling.py are beside it, and tokenizer.py where the model is asked by text. The classes in
code/kotlin and code/swift do the same; models of codes have none.
"""
from __future__ import annotations

import argparse
import json
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import diffusion
import noise
import numpy as np
from ai_edge_litert.interpreter import Interpreter

#: Of this bundle, two folders above this file.
FOLDER = Path(__file__).resolve().parents[2]
NOISE, CONDITION, STEP, CODES, TOKENS = "noise", "condition", "step", "codes", "tokens"
#: Signatures of a model of codes: from codes to what each is likely to be, and to a picture; and of a model in latents:
#: from a text to a condition, and a step by that.
PRIOR, DECODE, ENCODE_TEXT, DENOISE = "prior", "decode", "encode_text", "denoise"
#: The kind of a model that makes a latent of noise, by a text, and a picture of that.
IN_LATENTS = "latent_diffusion"
#: How PNG files begin, and what they call grey pixels and coloured ones.
BEGIN, GREY, COLOURED = b"\x89PNG\r\n\x1a\n", 0, 2


class Model:
    """A TFLite file of the bundle, called with real numbers, whatever it stores.

    Args:
        folder: of the bundle.
        name: of the file, without its ending; the first one where not given.
    """

    def __init__(self, folder: Path = FOLDER, name: str | None = None):
        self.sampler = json.loads((folder / "sampler.json").read_text(encoding="utf-8"))
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.labels = described["labels"]
        about = next((one for one in described["models"] if one["target"] == "litert" and name in (
            None, one["variant"])), None)
        if about is None:
            raise ValueError(f"there is no TFLite file {name} in the bundle")
        interpreter = Interpreter(model_path=str(folder / about["path"]))
        self.runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
        self.main = PRIOR if self.sampler["kind"] == CODES else about["signature"]
        self.inputs = self.runners[self.main].get_input_details()
        self.vocabulary: dict[str, int] = {}
        if self.sampler["kind"] == IN_LATENTS:
            from tokenizer import Tokenizer

            self.tokenizer = Tokenizer.read(folder)
            self.vocabulary = self.tokenizer.numbers

    def make(self, seed: int, count: int = 1, labels: Sequence[int] = (), steps: int | None = None,
             guidance: float | None = None, text: str = "") -> np.ndarray:
        """Return the first pictures of a seed, uint8 (count, height, width, channels).

        Args:
            seed: 0 to 2 ** 63 - 1.
            labels: number of the class of each, where the model takes one; the classes in turn where not given.
            steps, guidance: of a diffusion; as the model was trained for where not given.
            text: that is asked for, where the model takes one; nothing in particular where it is empty.
        """
        drawn = noise.normal((seed, 0), [count, *self.inputs[CODES if self.main == PRIOR else NOISE]["shape"][1:]])
        classes = self.inputs[CONDITION]["shape"][1] if CONDITION in self.inputs else 0
        pictures = []
        for number in range(count):
            one, condition = drawn[number:number + 1], None
            if classes:
                condition = np.zeros((1, classes), np.float32)
                condition[0, labels[number] if len(labels) else number % classes] = 1
            if self.sampler["kind"] == IN_LATENTS:
                pictures.append(self._of_text(one, text, steps, guidance)[0])
            elif self.main == PRIOR:
                pictures.append(self._ask({CODES: self._codes(one, condition)}, DECODE)[0])
            elif STEP in self.inputs:
                pictures.append(self._step_by_step(one, condition, steps, guidance)[0])
            else:
                pictures.append(self._ask({NOISE: one, CONDITION: condition})[0])
        return np.clip(np.round(np.stack(pictures)), 0, 255).astype(np.uint8)

    def known(self, text: str) -> bool:
        """Return whether the model has learnt a word of a text."""
        return any(number in self.vocabulary.values() for number in self.tokenizer.tokens(text))

    def _step_by_step(self, drawn: np.ndarray, condition: np.ndarray | None, steps: int | None,
                      guidance: float | None) -> np.ndarray:
        """Return the picture of some noise, pixels 0..255 that are not rounded."""
        def said(x: np.ndarray, step: int, asked: np.ndarray | None) -> np.ndarray:
            return self._ask({NOISE: x, STEP: np.array([step], np.float32), CONDITION: asked})

        nothing = None if condition is None else np.zeros_like(condition)
        return 127.5 * (self._sampled(said, drawn, condition, nothing, steps, guidance) + 1)

    def _of_text(self, drawn: np.ndarray, text: str, steps: int | None, guidance: float | None) -> np.ndarray:
        """Return the picture of a latent that some noise becomes."""
        def said(x: np.ndarray, step: int, asked: np.ndarray | None) -> np.ndarray:
            return self._ask({NOISE: x, STEP: np.array([step], np.float32), CONDITION: asked}, DENOISE)

        nothing = np.zeros(self.inputs[TOKENS]["shape"], np.int32)
        tokens = np.array([self.tokenizer.tokens(text)], np.int32) if text else nothing
        asked, without = (self._ask({TOKENS: one}, ENCODE_TEXT) for one in (tokens, nothing))
        return self._ask({NOISE: self._sampled(said, drawn, asked, without, steps, guidance)}, DECODE)

    def _sampled(self, said: Callable[[np.ndarray, int, np.ndarray | None], np.ndarray], drawn: np.ndarray,
                 condition: np.ndarray | None, nothing: np.ndarray | None, steps: int | None,
                 guidance: float | None) -> np.ndarray:
        """Return what noise becomes, step by step."""
        about = self.sampler
        table = np.array(about["table"])
        if steps is not None:
            table = diffusion.plan(diffusion.signal(about["known"], about["schedule"]), steps, about["sampler"])
        towards = about["guidance"] if guidance is None else guidance

        def denoise(x: np.ndarray, step: int) -> np.ndarray:
            answer = said(x, step, condition)
            if condition is None or towards == 1:
                return answer
            return diffusion.guided(answer, said(x, step, nothing), towards)

        return diffusion.sampled(denoise, drawn, table, about["target"], about["most"])

    def _codes(self, drawn: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        """Return codes, one drawn after the other: the share of normal numbers below one says how far along the codes'
        probabilities, added up, the one lies that is drawn."""
        codes = np.zeros(drawn.shape, np.int32)
        for place, number in enumerate(drawn[0].tolist()):
            logits = self._ask({CODES: codes, CONDITION: condition}, PRIOR)[0, place].astype(float)
            ends = np.cumsum(np.exp(logits - logits.max()))
            passed = int((ends / ends[-1] < 0.5 * math.erfc(-number / math.sqrt(2))).sum())
            codes[0, place] = min(passed, len(ends) - 1)
        return codes

    def _ask(self, inputs: dict[str, np.ndarray | None], signature: str | None = None) -> np.ndarray:
        """Return what a signature, the usual one where none is named, gives."""
        runner = self.runners[signature or self.main]
        stored = {}
        for name, details in runner.get_input_details().items():
            values, (scale, zero) = np.asarray(inputs[name]), details["quantization"]
            if scale:
                known = np.iinfo(details["dtype"])
                values = np.clip(np.round(values / scale) + zero, known.min, known.max)
            stored[name] = values.astype(details["dtype"])
        (output, given), = runner.get_output_details().items()
        values, (scale, zero) = runner(**stored)[output], given["quantization"]
        return (values.astype("float32") - zero) * scale if scale else values.astype("float32")


def png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 (height, width, channels), as a PNG file."""
    height, width, channels = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    header = struct.pack(">2I5B", width, height, 8, GREY if channels == 1 else COLOURED, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return BEGIN + b"".join(struct.pack(">I", len(content)) + kind + content
                            + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--class", dest="label", help="its name; the classes in turn where not given")
    parser.add_argument("--text", help="what to make, where the model takes a text")
    parser.add_argument("--steps", type=int, help="of a diffusion")
    parser.add_argument("--guidance", type=float, help="of a diffusion: towards what is asked for")
    parser.add_argument("--model", help="the file, for instance float16")
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    asked = parser.parse_args(arguments)
    try:
        model = Model(name=asked.model)
    except ValueError as error:
        parser.error(str(error))
    known = model.sampler.get("known", 0) if STEP in model.inputs else 0
    if not 0 <= asked.seed < 2 ** 63:
        parser.error("--seed is 0 to 2 ** 63 - 1")
    if asked.count < 1:
        parser.error("--count is 1 or more")
    if asked.label is not None and asked.label not in model.labels:
        parser.error(f"--class is one of {', '.join(model.labels) or 'no classes: leave it out'}")
    if asked.steps is not None and not 1 <= asked.steps <= known:
        parser.error(f"--steps is 1 to {known}" if known else "--steps is of a file that is asked step by step; leave "
                     "it out")
    if asked.guidance is not None and not (known and (model.labels or model.vocabulary)):
        parser.error("--guidance is of a file that is asked step by step, by class or text; leave it out")
    if asked.text is not None and not model.vocabulary:
        parser.error("--text: the model takes no text; leave it out")
    if asked.text is not None and not model.known(asked.text):
        parser.error(f"--text: the model has learnt no word of {asked.text!r}; it knows {', '.join(model.vocabulary)}")
    labels = [model.labels.index(asked.label)] * asked.count if asked.label is not None else []
    asked.out.mkdir(parents=True, exist_ok=True)
    pictures = model.make(asked.seed, asked.count, labels, asked.steps, asked.guidance, asked.text or "")
    for number, picture in enumerate(pictures):
        (asked.out / f"{number:04}.png").write_bytes(png(picture))


if __name__ == "__main__":
    main()
