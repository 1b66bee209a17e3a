"""Language models on one processor thread: tokens per second, time to the first token, peak memory and bytes, of this
package's driver, Google's engine LiteRT-LM, and llama.cpp, with the same weights.

    python benchmarks/language_models.py
    python benchmarks/language_models.py --only 1M --rounds 5 --json figures.json

Two models like LLaMA with random weights, of 1.3 and of 54 M, in float32 and in 8 bits: Q8_0 of GGUF, dynamic range of
TFLite. Each engine is in a process of its own; their rounds take turns, and the best of each counts. A round reads 64
tokens and adds 64; tokens are counted by the clock, and by seconds of the processor. Beside: a token at the end of 256,
with keys and values kept, and by reading the whole text anew. Wants the extras litert-lm and gguf.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIZES = {"1M": {"depth": 4, "units": 128, "heads": 4, "hidden": 352, "vocabulary": 2000},
         "50M": {"depth": 12, "units": 512, "heads": 8, "hidden": 1376, "vocabulary": 16_000}}
LENGTH, READ, ADDED = 256, 64, 64
#: Engine, and the file that it opens; both sorts of numbers have each.
FILES = {"driver": ".tflite", "litert_lm": ".litertlm", "llama.cpp": ".gguf"}
NUMBERS = {"float32": "float32", "8 bits": "dynamic"}
LINE = "{:<5} {:<8} {:<10} {:>9} {:>9} {:>9} {:>7} {:>12}"
BEST = {"time_to_first_token_ms": min, "tokens_per_second": max, "tokens_per_computed_second": max, "memory_mb": max}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SIZES, help="one of the two sizes")
    parser.add_argument("--engines", nargs="+", choices=FILES, default=list(FILES), help="some of the engines")
    parser.add_argument("--rounds", type=int, default=5, help="of each engine (default: 5)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    rows = []
    print(LINE.format("size", "numbers", "engine", "tokens/s", "of CPU", "first ms", "MB", "bytes"))
    for size in [options.only] if options.only else SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run([sys.executable, str(HERE / "language_files.py"), str(folder),
                            json.dumps(SIZES[size] | {"length": LENGTH})], check=True)
            for numbers, stem in NUMBERS.items():
                files = {engine: folder / f"{stem}{FILES[engine]}" for engine in options.engines}
                for engine, figures in asked(files, options.rounds, READ, ADDED).items():
                    rows.append({"size": size, "numbers": numbers, "engine": engine, **figures,
                                 "bytes": files[engine].stat().st_size})
                    print(line(rows[-1]), flush=True)
            files = {"driver": folder / "float32.tflite", "whole": folder / "whole.tflite"}
            late = asked(files, options.rounds, LENGTH - 8, 8)
            kept, anew = (late[one]["tokens_per_computed_second"] for one in files)
            rows.append({"size": size, "numbers": "float32", "engine": "kept / read anew", "times": kept / anew})
            print(f"{size:<5} a token at the end of {LENGTH}: {kept:,.0f} a second with keys and values kept, "
                  f"{anew:,.1f} without: {kept / anew:.1f} times", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def line(row: dict[str, Any]) -> str:
    figures = {name: f"{row[name]:,.0f}" for name in (*BEST, "bytes")}
    figures["time_to_first_token_ms"] = f"{row['time_to_first_token_ms']:.1f}"
    return LINE.format(row["size"], row["numbers"], row["engine"], figures["tokens_per_second"],
                       figures["tokens_per_computed_second"], figures["time_to_first_token_ms"],
                       figures["memory_mb"], figures["bytes"])


def asked(files: dict[str, Path], rounds: int, read: int, count: int) -> dict[str, dict[str, float]]:
    """Return the best figures of each engine, whose rounds take turns."""
    running = {engine: subprocess.Popen(
        [sys.executable, str(HERE / "language_engines.py"), engine, str(path), str(read), str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for engine, path in files.items()}
    figures: dict[str, list[dict[str, float]]] = {engine: [] for engine in files}
    try:
        for engine, process in running.items():
            answer(engine, process, "ready")
        for _ in range(rounds):
            for engine, process in running.items():
                process.stdin.write("\n")
                process.stdin.flush()
                figures[engine].append(json.loads(answer(engine, process)))
    finally:
        for process in running.values():
            process.stdin.close()
            process.wait()
    return {engine: {name: best(one[name] for one in some) for name, best in BEST.items()}
            for engine, some in figures.items()}


def answer(engine: str, process: subprocess.Popen, expected: str = "") -> str:
    """Return the next line of an engine that is an answer; others say what its libraries do."""
    for text in process.stdout:
        if text.startswith(expected or "{"):
            return text
    sys.exit(f"{engine} ended with {process.wait()}")


if __name__ == "__main__":
    main()
