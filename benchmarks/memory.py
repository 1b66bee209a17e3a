"""How much memory evaluate and verify take where outputs are large: 2,000 of 256 x 256 x 20 numbers, 10 GB in all.

    .venv/bin/python benchmarks/memory.py                  a quarter of an hour
    .venv/bin/python benchmarks/memory.py --examples 200

Runs a recipe of semantic segmentation with the network of benchmarks/dense_net.py in a temporary folder, and prints the
most memory that any one process of each stage had.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from dense_net import CLASSES, SIDE

ROOT = Path(__file__).resolve().parent.parent
LITEPRESS = str(Path(sys.executable).with_name("litepress"))
LIMIT = 1.5e9
RECIPE = """\
name: dense
task: semantic_segmentation
data: {source: {arrays: data.npz}, image: {size: 256, channels: 1}, mask: {classes: 20}, batch: 8}
model: {builder: dense_net}
train: {epochs: 1}
compress: {variants: [float32]}
export: {targets: [litert]}
verify: {runs: 10}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000, help="test examples (default 2000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="litepress-memory-") as folder:
        work = Path(folder)
        write_data(work / "data.npz", options.examples)
        (work / "recipe.yaml").write_text(RECIPE)
        run(work, "export")
        peaks = {}
        for stage in ("evaluate", "verify"):
            peaks[stage] = run(work, stage, "--from", stage)
    size = options.examples * SIDE * SIDE * CLASSES * 4
    print(f"{options.examples:,} outputs of {SIDE} x {SIDE} x {CLASSES}: {size / 1e9:.1f} GB")
    print(f"{'stage':<10}  {'peak memory':>12}  {'must be':>10}")
    for stage, peak in peaks.items():
        print(f"{stage:<10}  {peak / 1e6:>9,.0f} MB  {'< 1.5 GB':>10}  {'reached' if peak < LIMIT else 'MISSED'}")
    sys.exit(any(peak >= LIMIT for peak in peaks.values()))


def write_data(path: Path, examples: int) -> None:
    """Write images whose pixels' classes are twentieths of their brightness."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 64), ("test", examples)):
        images = generator.integers(0, 256, (count, SIDE, SIDE), dtype="uint8")
        arrays |= {f"x_{part}": images, f"{part}_mask": (images.astype("uint16") * CLASSES // 256).astype("uint8")}
    np.savez(path, **arrays)


def run(work: Path, until: str, *arguments: str) -> float:
    """Run the recipe up to a stage; return the most memory that one of its processes had at once, in bytes."""
    environment = {**os.environ, "LITEPRESS_PLUGINS": "dense_net", "PYTHONPATH": str(ROOT / "benchmarks")}
    process = subprocess.Popen([LITEPRESS, "run", "recipe.yaml", "--no-track", "--until", until, *arguments], cwd=work,
                               env=environment, stdout=subprocess.PIPE, text=True)
    peaks = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    printed, _ = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(f"the run up to {until} ended with code {process.returncode}:\n{printed}")
    return max(peaks)


def watch(process: subprocess.Popen, peaks: list[float]) -> None:
    """Look at the memory of a process and all below it, ten times a second: what is theirs alone, and mapped files."""
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for one in [parent, *parent.children(recursive=True)]:
                peaks.append(one.memory_info().rss)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.1)


if __name__ == "__main__":
    main()
