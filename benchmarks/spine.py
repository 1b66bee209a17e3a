"""What a run must reach, measured the way a user would: prints one table.

    make bench                          about half an hour, most of it for the kills
    python benchmarks/spine.py --kills 0

Works in a temporary folder; nothing of the checkout's runs/ is used or changed.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LITEPRESS = str(Path(sys.executable).with_name("litepress"))
STAGES = ("ingest", "train", "evaluate", "compress", "export", "verify", "package")
#: A recipe that takes half a minute, to be killed twenty times.
SMALL = ("--set", "data.source=digits", "--set", "data.image.size=8", "--set", "model.width=8", "--set",
         "train.epochs=6",
         "--set", "gates={}", "--set", "name=small", "--no-track")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="runs to kill at a random moment (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="litepress-bench-") as folder:
        work = Path(folder)
        shutil.copytree(ROOT / "recipes", work / "recipes")
        rows = measure_run(work) + measure_kills(work, options.kills, random.Random(options.seed))
    width = max(len(row[0]) for row in rows)
    print(f"\n{'what':<{width}}  {'measured':>14}  {'must be':>12}")
    for what, measured, bound, reached in rows:
        print(f"{what:<{width}}  {measured:>14}  {bound:>12}  {'reached' if reached else 'MISSED'}")
    sys.exit(not all(row[3] for row in rows))


def measure_run(work: Path) -> list[tuple[str, str, str, bool]]:
    """Return the default recipe, twice."""
    first, second = (run(work, "--json", f"{name}.json") for name in ("first", "second"))
    result = json.loads((work / "first.json").read_text())
    again = json.loads((work / "second.json").read_text())
    of = {one["variant"] if one["target"] == "litert" else one["target"]: one for one in result["artifacts"]}
    accuracy, ratio = result["reference"]["metrics"]["accuracy"], of["int8"]["bytes"] / of["float32"]["bytes"]
    exact = max(of[name]["max_error"] for name in ("float32", "saved_model"))
    lost = max(abs(of[name]["drop"]["accuracy"]) for name in ("float32", "saved_model"))
    drop = of["int8"]["drop"]["accuracy"]
    return [
        ("first run", f"{first:.0f} s", "< 240 s", first < 240),
        ("second run, all stages cached", f"{second:.2f} s", "< 2 s",
         second < 2 and all(stage["cached"] for stage in again["stages"])),
        ("accuracy on 1,000 held-out digits", f"{accuracy:.4f}", ">= 0.985", accuracy >= 0.985),
        ("float32 .tflite and SavedModel: logits off by", f"{exact:.1e}", "<= 1e-4", exact <= 1e-4),
        ("float32 .tflite and SavedModel: drop", f"{lost:.4f}", "0", lost == 0),
        ("int8 .tflite: drop", f"{drop:.4f}", "<= 0.005", drop <= 0.005),
        ("int8 .tflite: size of float32's", f"{ratio:.1%}", "<= 32 %", ratio <= 0.32),
    ]


def measure_kills(work: Path, kills: int, generator: random.Random) -> list[tuple[str, str, str, bool]]:
    """Return a small recipe, killed with SIGKILL at random moments and run again: are the artifacts the same?"""
    if not kills:
        return []
    seconds = run(work, "--runs", "whole", *SMALL)
    expected, same = digests(work / "whole"), 0
    for number in range(kills):
        moment, whole_group = generator.uniform(0, seconds), bool(number % 2)
        process = start(work, "--runs", "killed", *SMALL)
        time.sleep(moment)
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        run(work, "--runs", "killed", *SMALL)
        same += digests(work / "killed") == expected
        print(f"kill {number + 1} of {kills} after {moment:.1f} s: {same} of {number + 1} ended with the same "
              "artifacts", flush=True)
        shutil.rmtree(work / "killed")
    return [(f"kill -9 at {kills} random moments: same artifacts", f"{same} of {kills}", f"{kills}", same == kills)]


def run(work: Path, *arguments: str) -> float:
    """Runs to the end; seconds."""
    started = time.monotonic()
    if start(work, *arguments).wait() != 0:
        sys.exit(f"litepress run {' '.join(arguments)} failed")
    return time.monotonic() - started


def start(work: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([LITEPRESS, "run", "recipes/vision/digits.yaml", *arguments], cwd=work,
                            start_new_session=True,
                            stdout=subprocess.DEVNULL)


def digests(runs: Path) -> dict[str, str]:
    """Stage to the digest of its artifact, of the latest run."""
    return {stage: json.loads((runs / "small" / "latest" / stage / "artifact.json").read_text())["digest"]
            for stage in STAGES}


if __name__ == "__main__":
    main()
