"""Goes on with a text, by this bundle's file for LiteRT-LM, without the engine and without litepress.

    pip install ai-edge-litert numpy
    python generate.py "In the beginning" --tokens 100 --temperature 0.8 --top-p 0.9 --seed 1

sampling.py, beam.py and tokenizer.py are beside it. The classes in code/kotlin and code/swift do the same, line by
line.
"""
from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import beam
import numpy as np
import sampling
from ai_edge_litert.interpreter import Interpreter
from tokenizer import MARK, PADDING, START, UNKNOWN, Tokenizer

#: Of this bundle, two folders above this file.
FOLDER = Path(__file__).resolve().parents[2]
DECODE, PREFILL, TOKENS, PLACES, OUTPUT = "decode", "prefill_", "tokens", "input_pos", "logits"
#: What is never written.
NEVER = [PADDING, UNKNOWN, START]
REPLACEMENT = "\ufffd"


class Model:
    """The file, and how it reads and writes text.

    Args:
        folder: of the bundle.
        name: of the file, without its ending; the first one where not given.
    """

    def __init__(self, folder: Path = FOLDER, name: str | None = None):
        said = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.tokenizer, self.names, self.kind, self.end = (
            Tokenizer(said), said["vocabulary"], said["kind"], said["end"])
        models = json.loads((folder / "model.json").read_text(encoding="utf-8"))["models"]
        about = next(one for one in models if one["target"] == "litert_lm" and name in (None, one["variant"]))
        interpreter = Interpreter(model_path=str((folder / about["path"]).with_suffix(".tflite")))
        self.runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
        #: Of the prefills, the longest first.
        self.lengths = sorted((int(name.removeprefix(PREFILL)) for name in self.runners if name != DECODE),
                              reverse=True)
        self.caches = {name: tuple(one["shape"]) for name, one in self.runners[DECODE].get_input_details().items()
                       if name not in (TOKENS, PLACES)}
        self.length = int(next(iter(self.caches.values()))[2])

    def read(self, prompt: str) -> list[int]:
        """Return the tokens of a text. Raises ValueError where one is not known, or none fits behind them."""
        tokens = [token for token in self.tokenizer.tokens(prompt) if token != PADDING]
        if UNKNOWN in tokens:
            raise ValueError("the prompt has a token that the vocabulary lacks; leave it out")
        if len(tokens) + 1 >= self.length:
            raise ValueError(f"the prompt has {len(tokens)} tokens or more, and the model takes {self.length}, with "
                             "the one that stands before a text; give a shorter one")
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens read."""
        joined = "".join(self.names[token] for token in tokens)
        if self.kind == "character":
            return joined
        if self.kind == "byte_bpe":
            return bytes(BYTES[character] for character in joined).decode("utf-8", "replace")
        return joined.replace(chr(MARK), " ").strip()

    def tokens(self, prompt: Sequence[int], count: int, how: sampling.Sampling, beams: int = 1,
               length_penalty: float = 0.6) -> Iterator[int]:
        """Yield the tokens that follow those of a prompt.

        Args:
            count: of them, at most.
            how: each is chosen.
            beams: texts that a beam search follows; 1 chooses token by token.
            length_penalty: see `beam.by_length`.
        """
        never = NEVER if self.end is not None else [*NEVER, NEVER[-1] + 1]
        state = Text(self)
        logits = state.read([START, *prompt])
        count = min(count, state.room + 1)
        if beams > 1:
            yield from self._searched(state, logits, prompt, count, how, never, beams, length_penalty)
            return
        added: list[int] = []
        while len(added) < count:
            if added:
                logits = state.after(added[-1])
            token = sampling.chosen(logits, how, len(added), text=[*prompt, *added], never=never)
            if token == self.end:
                return
            yield token
            added.append(token)

    def _searched(self, state: Text, logits: np.ndarray, prompt: Sequence[int], count: int, how: sampling.Sampling,
                  never: Sequence[int], beams: int, length_penalty: float) -> list[int]:
        states = [state]

        def scored(one: np.ndarray, text: Sequence[int]) -> np.ndarray:
            return sampling.allowed(one, how, [*prompt, *text], never)

        def step(rows: Sequence[int], texts: Sequence[Sequence[int]]) -> np.ndarray:
            nonlocal states
            states = [copy.copy(states[row]) for row in rows]
            return np.stack([scored(one.after(text[-1]), text) for one, text in zip(states, texts, strict=True)])

        best = beam.search(scored(logits, []), step, count=count, width=beams, end=self.end,
                           score=beam.by_length(length_penalty))
        return [token for token in best if token != self.end]

    def pieces(self, prompt: str, count: int, how: sampling.Sampling, beams: int = 1, length_penalty: float = 0.6,
               stops: Sequence[str] = ()) -> Iterator[str]:
        """Yield what is added to a text, as soon as it is sure: nothing of a string that ends it, and no characters of
        which bytes are missing."""
        before = self.read(prompt)
        added: list[int] = []
        begin, sent, whole = len(self.text(before)), 0, ""
        for token in self.tokens(before, count, how, beams, length_penalty):
            added.append(token)
            whole = self.text([*before, *added])[begin:]
            places = [place for place in (whole.find(stop) for stop in stops) if place >= 0]
            if places:
                whole = whole[:min(places)]
                break
            held = max([len(whole) - len(whole.rstrip(REPLACEMENT)), *(
                size for stop in stops for size in range(1, len(stop)) if whole.endswith(stop[:size]))])
            if len(whole) - held > sent:
                yield whole[sent:len(whole) - held]
                sent = len(whole) - held
        if len(whole) > sent:
            yield whole[sent:]


class Text:
    """A text that grows, and the keys and values of its tokens."""

    def __init__(self, model: Model):
        self.model, self.size = model, 0
        self.caches = {name: np.zeros(shape, np.float32) for name, shape in model.caches.items()}

    @property
    def room(self) -> int:
        """Return how many more tokens it takes."""
        return self.model.length - self.size

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Read tokens by as few calls as can be, none beyond the end; return the logits of the one that follows."""
        left, shortest = list(tokens[:-1]), self.model.lengths[-1]
        while left:
            count = next((one for one in self.model.lengths if one <= len(left)), None)
            if count is None and shortest <= self.room:
                count = shortest  # filled up: what is written behind the text is written over before it is seen
            if count is None:
                self.after(left.pop(0))
                continue
            chunk, left = left[:count], left[count:]
            self.caches = self._call(f"{PREFILL}{count}", [*chunk, *[PADDING] * (count - len(chunk))])
            self.size += len(chunk)
        return self.after(tokens[-1])

    def after(self, token: int) -> np.ndarray:
        """Read a token; return the logits of the one that follows, (vocabulary,)."""
        result = self._call(DECODE, [token])
        logits = result.pop(OUTPUT)[0, 0]
        self.caches, self.size = result, self.size + 1
        return logits

    def _call(self, name: str, tokens: Sequence[int]) -> dict[str, np.ndarray]:
        places = np.arange(self.size, self.size + len(tokens), dtype=np.int32)
        return dict(self.model.runners[name](tokens=np.array([tokens], np.int32), input_pos=places, **self.caches))


def _bytes() -> dict[str, int]:
    """Return the byte that each character of byte-level tokens stands for, as GPT-2 has it."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


BYTES = _bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description="Goes on with a text.")
    parser.add_argument("prompt", nargs="?", default="")
    parser.add_argument("--file", help="NAME of litert_lm/NAME.tflite; the first one where not given")
    parser.add_argument("--stop", action="append", default=[])
    for name, kind, default in (("tokens", int, 100), ("temperature", float, 0.0), ("top-k", int, 0),
                                ("top-p", float, 1.0), ("repetition-penalty", float, 1.0), ("seed", int, 0),
                                ("beams", int, 1), ("length-penalty", float, 0.6)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    asked = parser.parse_args()
    how = sampling.Sampling(asked.temperature, asked.top_k, asked.top_p, asked.repetition_penalty, asked.seed)
    model = Model(name=asked.file)
    for piece in model.pieces(asked.prompt, asked.tokens, how, asked.beams, asked.length_penalty, asked.stop):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
