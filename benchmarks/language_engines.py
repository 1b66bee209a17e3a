"""A language model in an engine, in a process of its own: `language_models.py` starts it, and asks it by its standard
input.

    python benchmarks/language_engines.py driver model.tflite 64 64

Each line that it reads is a round: it reads so many tokens of a text, and adds so many; and again with two. It answers
with a line of JSON: milliseconds to the first token, tokens per second of those behind it, the same per second of the
processor, which a busy machine changes less, and the most memory that it has taken so far.
"""
from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.measure import llama_cpp
from export.predictors.chunked import ChunkedPredictor
from export.tflite.chunked import OUTPUT, TOKENS

#: The vocabulary is of the special tokens and so many characters from here on.
FIRST, SPECIAL = 0x4E00, 4
BARRED = range(SPECIAL)
Round = Callable[[int, int], tuple[float, float]]


def prompt(read: int) -> str:
    """Return a text of so many tokens, that stands behind its start."""
    return "".join(chr(FIRST + 7 * number % 1000) for number in range(read - 1))


def tokens_of(read: int) -> list[int]:
    """Return the tokens of the same, the start among them."""
    return [2, *(ord(letter) - FIRST + SPECIAL for letter in prompt(read))]


def timed(first: float, last: float, start: float, count: int) -> tuple[float, float]:
    """Return milliseconds to the first token, and tokens per second of the others."""
    return 1000 * (first - start), (count - 1) / (last - first)


def likeliest(logits: np.ndarray) -> int:
    logits[list(BARRED)] = -np.inf
    return int(logits.argmax())


def driver(path: Path) -> Round:
    """Return the rounds of the driver of this package."""
    model = ChunkedPredictor(path)

    def once(read: int, count: int) -> tuple[float, float]:
        start, text = time.perf_counter(), model.text()
        token = likeliest(text.read(tokens_of(read)))
        first = time.perf_counter()
        for _ in range(count - 1):
            token = likeliest(text.after(token))
        return timed(first, time.perf_counter(), start, count)

    return once


def litert_lm(path: Path) -> Round:
    """Return the rounds of Google's engine, on one thread."""
    import litert_lm as library

    library.set_min_log_severity(library.LogSeverity.ERROR)
    engine = library.Engine(str(path), backend=library.Backend.CPU(thread_count=1), cache_dir=str(path.parent))
    sampler = library.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0)

    def once(read: int, count: int) -> tuple[float, float]:
        with engine.create_session(apply_prompt_template=False, sampler_config=sampler,
                                   max_output_tokens=count) as session:
            start = time.perf_counter()
            session.run_prefill([prompt(read)])
            times = [time.perf_counter() for answer in session.run_decode_async() if answer.texts]
        return timed(times[0], times[-1], start, len(times))

    return once


def llama(path: Path) -> Round:
    """Return the rounds of llama.cpp, on one thread, by its own clock."""
    engine = llama_cpp.opened(path, 0, exact=False)

    def once(read: int, count: int) -> tuple[float, float]:
        times = llama_cpp.added(engine, prompt(read), count)["timings"]
        assert (times["prompt_n"], times["predicted_n"]) == (read, count)
        return times["prompt_ms"] + times["predicted_ms"] / count, times["predicted_per_second"]

    return once


def whole(path: Path) -> Round:
    """Return the rounds of a file without kept keys and values, which reads the whole text anew for each token."""
    from export.predictors.litert import LiteRTPredictor

    model = LiteRTPredictor(path)
    length = int(model.tensors[next(iter(model.tensors))].inputs[TOKENS].shape[-1])

    def once(read: int, count: int) -> tuple[float, float]:
        row, times = np.zeros((1, length), np.int32), [time.perf_counter()]
        row[0, :read] = tokens_of(read)
        for place in range(read, read + count):
            token = likeliest(model.predict({TOKENS: row})[OUTPUT][0, place - 1].copy())
            times.append(time.perf_counter())
            row[0, min(place, length - 1)] = token
        return timed(times[1], times[-1], times[0], count)

    return once


ENGINES = {"driver": driver, "litert_lm": litert_lm, "llama.cpp": llama, "whole": whole}


def main() -> None:
    name, path, read, count = sys.argv[1:]
    once = ENGINES[name](Path(path))
    print("ready", flush=True)
    for _ in sys.stdin:
        (first, speed, computed), (sooner, _, few) = (measured(once, int(read), one) for one in (int(count), 2))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"time_to_first_token_ms": min(first, sooner), "tokens_per_second": speed,
                          "tokens_per_computed_second": (int(count) - 2) / (computed - few), "memory_mb": memory}),
              flush=True)


def measured(once: Round, read: int, count: int) -> tuple[float, float, float]:
    """Return what a round gives, and the seconds of the processor that it took."""
    begin = time.process_time()
    first, speed = once(read, count)
    return first, speed, time.process_time() - begin


if __name__ == "__main__":
    main()
