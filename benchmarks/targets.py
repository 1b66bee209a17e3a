"""What every target must reach, measured on the recipes' trained models: prints one table.

    make bench-targets
    .venv/bin/python benchmarks/targets.py --only digits mobilenet_v2

Trains what is not trained yet, so the first time takes hours. MediaPipe's and the browser's rows want `make
.venv/.mediapipe` and Chromium with its driver; where they are missing, the row says so and counts as missed. Exits 1
where a figure is missed.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import browser
from compression import Row, print_table

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
RECIPES = Path("recipes/vision")
MEDIAPIPE = Path(sys.prefix) / "mediapipe"
#: Recipe to the least share of its operators that an Ethos-U must take.
ON_NPU = {"digits": 1.0, "resnet20": 1.0, "mobilenet_v1": 1.0, "mobilenet_v2": 1.0, "ds_cnn": 1.0, "mobilenet_v3": 0.95,
          "efficientnet": 0.95}
NPUS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
TARGETS = ", ".join(["litert", "onnx", "openvino", "{web: [float32, int8]}",
                     *(f"{{ethos-u: {{name: {name}, accelerator: {name}}}}}" for name in NPUS)])
#: Other recipes of classifiers: MediaPipe must open each.
OTHERS = ("lenet5", "alexnet", "vgg11", "googlenet", "inception_v3", "densenet", "squeezenet", "shufflenet_v2",
          "efficientnet_v2", "convnext", "vit", "mobilevit", "fashion_mnist", "distilled", "compressed")
BITS = 200
CLASSIFY = """
import json, sys
import mediapipe
import numpy
import PIL.Image
from mediapipe.tasks.python import BaseOptions, vision
def rgb(path):
    pixels = numpy.asarray(PIL.Image.open(path).convert("RGB"))
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
bundle = sys.argv[1]
samples, same = json.load(open(f"{bundle}/samples/expected.json")), 0
for path in sys.argv[2:]:
    variant = path.rpartition("/")[2].removesuffix(".tflite")
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=path))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for sample in samples:
            found = classifier.classify(rgb(f"{bundle}/samples/{sample['file']}")).classifications[0]
            same += found.categories[0].category_name == sample["expected"][variant]["class"]
print(same, len(samples) * len(sys.argv[2:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="names of recipes in recipes/vision")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.only or [*ON_NPU, *OTHERS]:
        own = measure(name, options.runs)
        for row in own:
            print(f"  {row.what}: {row.measured}  {row.bound}  {'reached' if row.reached else 'MISSED'}", flush=True)
        rows += own
    if "digits" in (options.only or ON_NPU):
        rows += [same_as_by_hand(options.runs), built_twice(options.runs), tampered(options.runs)]
    print_table(rows)
    sys.exit(not all(row.reached for row in rows))


def run(name: str, runs: Path, results: Path, *more: str) -> dict | None:
    """Run a recipe for all targets; return its results, or None where it did not run to its end."""
    code = subprocess.run([
        LITEPRESS, "run", str(RECIPES / f"{name}.yaml"), "--runs", str(runs), "--no-track", "--json", str(results),
        "--set", f"export.targets=[{TARGETS}]", "--set", "compress.variants=[float32, float16, dynamic, int8]",
        "--set", "gates={}", *more]).returncode
    return json.loads(results.read_text()) if code == 0 else None


def measure(name: str, runs: Path) -> list[Row]:
    """Return the figures of one recipe."""
    with tempfile.TemporaryDirectory() as folder:
        results = run(name, runs, Path(folder) / "results.json")
    if results is None:
        return [Row(name, "did not run to its end", "", False)]
    rows = []
    for one in results["compiled"]:
        coverage = one["coverage"]
        if coverage is not None and name in ON_NPU:
            unsupported = sorted({f"{operator['operator']} ({operator['reason']})" for operator in coverage["left"]})
            share = coverage["taken"] / coverage["total"]
            on_cpu = f"; CPU: {', '.join(unsupported)}" if unsupported else ""
            measured = f"{coverage['taken']} of {coverage['total']}, {share:.1%}{on_cpu}"
            rows.append(Row(f"{name}: operators on the {one['target']}", measured, f">= {ON_NPU[name]:.0%}",
                            share >= ON_NPU[name]))
    for one in results["artifacts"]:
        if one["target"] in ("onnx", "openvino"):
            if one["variant"] == "float32":
                rows.append(Row(f"{name}: {one['target']} float32, off Keras", f"{one['max_error']:.1e}", "<= 1e-4",
                                one["max_error"] <= 1e-4))
            else:
                rows.append(Row(f"{name}: {one['target']} int8, drop", f"{one['drop']['accuracy']:.4f}", "<= 0.005",
                                one["drop"]["accuracy"] <= 0.005))
    bundle = Path(results["bundle"]).parent / "bundle"
    return [*rows, mediapipe(name, bundle), browser_page(name, bundle)]


def mediapipe(name: str, bundle: Path) -> Row:
    """Return what MediaPipe's own runtime makes of the golden samples, on every phone file of the bundle."""
    what, bound = f"{name}: MediaPipe, same top class", "all"
    if not MEDIAPIPE.is_dir():
        return Row(what, "not here: make .venv/.mediapipe", bound, False)
    files = sorted((bundle / "litert").glob("*.tflite"))
    done = subprocess.run([sys.executable, "-c", CLASSIFY, str(bundle), *map(str, files)],
                          env={**os.environ, "PYTHONPATH": str(MEDIAPIPE)}, capture_output=True, text=True)
    if done.returncode:
        return Row(what, (done.stderr.strip().splitlines() or ["failed"])[-1][:60], bound, False)
    same, asked = map(int, done.stdout.split())
    return Row(what, f"{same} of {asked}", bound, same == asked > 0)


def browser_page(name: str, bundle: Path) -> Row:
    """Return what the bundle's page answers in headless Chromium."""
    what, bound = f"{name}: browser page, logits off", "<= 1e-3"
    if not browser.there():
        return Row(what, "no Chromium with its driver here", bound, False)
    with browser.served(bundle) as address:
        answer = browser.wait_for(f"{address}/web/index.html?check", "done")
    if "checked" not in answer or "failed" in answer:
        return Row(what, answer.get("failed", "it did not answer"), bound, False)
    checked = json.loads(answer["checked"])
    worst = max(one["worst"] for one in checked)
    return Row(what, f"{worst:.1e} ({', '.join(one['model'] for one in checked)})", bound,
               worst <= 1e-3 and all(one["same"] == one["samples"] for one in checked))


def same_as_by_hand(runs: Path) -> Row:
    """Return what `litepress benchmark` measures against a loop over LiteRT's interpreter: median of the ratios of five
    pairs, by turns."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    path = runs / "digits" / "latest" / "export" / "litert" / "float32.tflite"
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    pixels = np.random.default_rng(0).integers(0, 256, detail["shape"]).astype(detail["dtype"])
    interpreter.set_tensor(detail["index"], pixels)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            figures = Path(folder) / "b.json"
            subprocess.run([LITEPRESS, "benchmark", str(path), "--runs", "1000", "--json", str(figures)], check=True,
                           stdout=subprocess.DEVNULL)
            times = []
            for _ in range(1200):
                started = time.perf_counter()
                interpreter.invoke()
                times.append(1000 * (time.perf_counter() - started))
            ratios.append(json.loads(figures.read_text())["artifacts"][0]["p50"] / statistics.median(times[200:]))
    off = abs(statistics.median(ratios) - 1)
    return Row("benchmark against the same by hand", f"{statistics.median(ratios):.3f} of it", "within 5 %",
               off <= 0.05)


def built_twice(runs: Path) -> Row:
    """Return whether the same recipe, exported and packed again, gives the same bundle."""
    with tempfile.TemporaryDirectory() as folder:
        zips = []
        for more in ((), ("--from", "compress")):
            results = run("digits", runs, Path(folder) / "results.json", *more)
            zips.append(Path(results["bundle"]).read_bytes() if results else b"")
    same = "the same" if zips[0] == zips[1] else "OTHER"
    return Row("a bundle built twice", f"{same} {len(zips[0]):,} bytes", "identical", zips[0] == zips[1] != b"")


def tampered(runs: Path) -> Row:
    """Return how many single bits turned all over a published bundle are refused: all must be, and the file named."""
    from export.delivery import manifest, publish

    generator, refused = random.Random(0), 0
    with tempfile.TemporaryDirectory() as folder:
        private = Path(folder) / "key"
        public = publish.make_keys(private)
        bundle = (runs / "digits" / "latest" / "package" / "bundle").resolve()
        place = Path(publish.publish(bundle, f"{folder}/store", private))
        files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.stat().st_size]
        turned = [*files, *(generator.choice(files) for _ in range(max(0, BITS - len(files))))]
        for path in turned:
            content = bytearray(path.read_bytes())
            bit = generator.randrange(8 * len(content))
            content[bit // 8] ^= 1 << bit % 8
            kept = path.read_bytes()
            path.write_bytes(bytes(content))
            try:
                publish.check(place, signed=public)
            except ValueError as error:
                refused += path.relative_to(place).as_posix() in str(error)
            path.write_bytes(kept)
        publish.check(place, signed=public)
        shutil.rmtree(place)
    assert manifest.NAME in {path.name for path in files}
    return Row(f"one bit turned, in each of {len(files)} files and more",
               f"{refused} of {len(turned)} refused, file named", "all", refused == len(turned))


if __name__ == "__main__":
    main()
