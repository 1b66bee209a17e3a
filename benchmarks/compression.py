"""What compression must reach, measured on every CNN recipe: prints one table.

    make bench-compression
    python benchmarks/compression.py --only digits mobilenet_v2

Trains what is not trained yet, so the first time takes hours; stages that have run are not run again. Exits 1 where a
figure is missed.
"""
from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
RECIPES = Path("recipes/vision")
#: Networks that are not convolutional, and templates.
LEFT_OUT = ("vit", "mobilevit", "my_photos", "fashion_mnist", "distilled", "compressed")
VARIANTS = ("float32, int8, {int8: {name: int8_per_tensor, per_channel: false, equalize: true}}, {qat: {epochs: 3}}, "
            "auto")
#: What is pruned, and made of low rank, beside.
PRUNED = ("{pruned: {epochs: 8, per_channel: false}}, "
          "{pruned: {name: pruned_clustered, epochs: 8, clusters: 32, per_channel: false}}")
MORE = {"digits": [PRUNED], "resnet20": [PRUNED], "mobilenet_v2": [PRUNED],
        "vgg11": [PRUNED, "{clustered: {epochs: 3}}", "{low_rank: {keep: 0.8}}"]}
TIMED = ("digits", "resnet20", "mobilenet_v2")
TESTS = (("a QAT run killed ends with the same bytes", "test_a_killed_training_with_rounding_ends_with_the_same_bytes"),
         ("a conversion that crashes is named, the others ship",
          "test_a_conversion_that_crashes_is_named_and_the_others_ship"))


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    measured: str
    bound: str
    reached: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="names of recipes in recipes/vision")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    names = options.only or [path.stem for path in sorted(RECIPES.glob("*.yaml")) if path.stem not in LEFT_OUT]
    rows: list[Row] = []
    for name in names:
        rows += measure(name, options.runs)
    if not options.only:
        rows += [*(tested(what, test) for what, test in TESTS), sparse_kernels()]
    print_table(rows)
    sys.exit(not all(row.reached for row in rows))


def print_table(rows: list[Row]) -> None:
    """Print the figures, each with what it must be."""
    width = max(len(row.what) for row in rows)
    print(f"\n{'what':<{width}}  {'measured':>34}  {'must be':>22}")
    for row in rows:
        print(f"{row.what:<{width}}  {row.measured:>34}  {row.bound:>22}  {'reached' if row.reached else 'MISSED'}")


def measure(name: str, runs: Path) -> list[Row]:
    """Return the figures of one recipe."""
    variants = ", ".join([VARIANTS, *MORE.get(name, [])])
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        code = subprocess.run([
            LITEPRESS, "run", str(RECIPES / f"{name}.yaml"), "--runs", str(runs), "--no-track", "--json", str(results),
            "--set", f"compress.variants=[{variants}]", "--set", "export.targets=[litert]", "--set", "gates={}",
        ]).returncode
        if code:
            return [Row(name, f"exit code {code}", "0", False)]
        result = json.loads(results.read_text())
    of = {one["variant"]: one for one in result["artifacts"]}
    drop = {variant: one["drop"]["accuracy"] for variant, one in of.items()}
    latest = runs / name / "latest"
    rows = [Row(f"{name}: float accuracy", f"{result['reference']['metrics']['accuracy']:.4f}", "", True),
            Row(f"{name}: QAT int8 drop", f"{drop['qat']:.4f}", "<= 0.003", drop["qat"] <= 0.003),
            ptq(name, drop, latest), integers(name, of["qat"]), size(name, of, latest), crossing(name, latest)]
    if "pruned" in of:
        ratio = {variant: of[variant]["zipped"] / of["float32"]["zipped"] for variant in ("pruned", "pruned_clustered")}
        rows.append(Row(f"{name}: pruned 75 % + int8, zipped, drop; with 32 clusters",
                        "; ".join(f"{ratio[variant]:.1%}, {drop[variant]:.4f}" for variant in ratio),
                        "<= 12 %, <= 0.01", any(ratio[variant] <= 0.12 and drop[variant] <= 0.01 for variant in ratio)))
    for variant in ("clustered", "low_rank"):
        if variant in of:
            measured = f"{of[variant]['bytes']:,}; {of[variant]['zipped']:,}; {drop[variant]:.4f}"
            rows.append(Row(f"{name}: {variant}, bytes; zipped; drop", measured, "", True))
    if name in TIMED:
        rows += speed(name, of)
    for row in rows:
        print(f"  {row.what}: {row.measured}  {row.bound}  {'reached' if row.reached else 'MISSED'}", flush=True)
    return rows


def ptq(name: str, drop: dict[str, float], latest: Path) -> Row:
    """Return int8 without training, or where the search ended that goes on from it."""
    variants = json.loads((latest / "compress" / "compress.json").read_text())["variants"]
    auto = next(variant for variant in variants if variant["name"] == "auto")
    step = auto["details"]["rungs"][-1]["rung"]
    best = drop["int8"] if drop["int8"] <= 0.005 else drop["auto"]
    return Row(f"{name}: PTQ int8 drop; the search ended at", f"{drop['int8']:.4f}; {step} {drop['auto']:.4f}",
               "<= 0.005", best <= 0.005)


def integers(name: str, qat: dict) -> Row:
    """Return how many tensors of the QAT file are not integers: none may be."""
    from export.tflite import file as tflite_file

    left = tflite_file.float_tensors(Path(qat["path"]).read_bytes())
    return Row(f"{name}: QAT, tensors that are not integers",
               f"{len(left)} of {sum(qat['operators'].values())} operators", "0", not left)


def size(name: str, of: dict[str, dict], latest: Path) -> Row:
    """Return the size of int8 against float32."""
    events = map(json.loads, (latest / "train" / "journal.jsonl").read_text().splitlines())
    weights = next(event["values"]["weights"] for event in events
                   if event["event"] == "parameters" and "weights" in event["values"])
    bound = 0.27 if weights > 1_000_000 else 0.32
    ratio = {variant: of[variant]["bytes"] / of["float32"]["bytes"] for variant in ("int8", "int8_per_tensor")}
    small = [variant for variant in ratio if ratio[variant] <= bound and of[variant]["drop"]["accuracy"] <= 0.005]
    return Row(f"{name}: int8 of float32, {weights:,} weights",
               f"{ratio['int8']:.1%}, a scale per tensor {ratio['int8_per_tensor']:.1%}",
               f"<= {bound:.0%}, drop <= 0.005", bool(small))


def crossing(name: str, latest: Path) -> Row:
    """Return what the bridge does to the trained model, there and back, over test examples."""
    from pipelines.engine import workers

    error, same = workers.call(cross, latest, what="bridge")
    return Row(f"{name}: bridge, there and back, of the largest logit",
               f"{error:.1e}, weights {'the same' if same else 'DIFFER'}", "<= 1e-5, bit for bit",
               error <= 1e-5 and same)


def cross(latest: Path) -> tuple[float, bool]:
    """Return the largest difference of an output on held-out examples, as a share of the largest output, and whether
    all weights are the same."""
    import numpy as np

    from export.keras_models import bridge
    from export.keras_models import file as keras_file
    from pipelines.engine import runs
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index
    from pipelines.recipe.recipe import Recipe

    recipe = Recipe.model_validate(runs.load(latest).record.recipe)
    index = Index.model_validate_json((latest / "ingest" / "index.json").read_bytes())
    inputs, _ = Data(recipe.data, recipe.task, index, recipe.seed).arrays("test", 200)
    images = inputs["image"].astype("float32")
    model = keras_file.load(latest / "train" / "model.keras")
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    expected = np.asarray(model(images, training=False))
    error = max(float(np.abs(np.asarray(other(images, training=False)) - expected).max()) for other in (there, back))
    pairs = [*zip(model.get_weights(), back.get_weights(), strict=True)]
    for layer in model.layers:
        if layer.weights:
            pairs += zip(layer.get_weights(), there.get_layer(layer.name).get_weights(), strict=True)
    return error / float(np.abs(expected).max()), all(np.array_equal(one, other) for one, other in pairs)


def speed(name: str, of: dict[str, dict]) -> list[Row]:
    """Return the latency of int8 against float32, with one thread and two; where it gains little, the report must say
    why."""
    rows = []
    for threads in (1, 2):
        exact, rounded = interleaved(of["float32"]["path"], of["int8"]["path"], threads)
        why = of["int8"]["latency_ms"].get("why", "")
        gain = exact / rounded
        rows.append(Row(f"{name}: LiteRT, {threads} thread{'s' * (threads > 1)}, float32 -> int8",
                        f"{exact:.3f} -> {rounded:.3f} ms, {gain:.2f} times", ">= 1.5, or says why",
                        gain >= 1.5 or bool(why)))
        if gain < 1.5:
            print(f"  {name}: {why or 'the report does not say why'}")
    return rows


def sparse_kernels() -> Row:
    """Return what LiteRT gains of MobileNet as published, with most weights of its 1 x 1 convolutions zeros, stored
    with and without them. The speed does not depend on what the weights have learnt."""
    from pipelines.engine import workers

    with tempfile.TemporaryDirectory() as folder:
        sizes = workers.call(write_sparse, Path(folder), what="sparse kernels")
        dense, sparse = interleaved(f"{folder}/dense.tflite", f"{folder}/sparse.tflite", 1)
    return Row("MobileNet at 224 pixels, 85 % zeros, stored without them",
               f"{sizes[0] / 1e6:.1f} -> {sizes[1] / 1e6:.1f} MB, {dense:.1f} -> {sparse:.1f} ms", "", True)


def write_sparse(folder: Path) -> list[int]:
    """Write the two files; return their bytes."""
    import numpy as np

    import models
    from export.compression import prune
    from export.conversion import convert
    from export.keras_models import graph

    model = models.build("mobilenet_v1", input_shape=(224, 224, 3), classes=1000)
    for layer in prune.reducible(model):
        kernel = np.asarray(layer.kernel)
        if kernel.shape[:2] == (1, 1):
            layer.kernel.assign(np.where(np.abs(kernel) >= np.quantile(np.abs(kernel), 0.85), kernel, 0))
    convert.float_graph(model, lambda model: [graph.function(model, graph.signature_of(model))], folder / "graph")
    for name in ("dense", "sparse"):
        (folder / f"{name}.tflite").write_bytes(convert.convert(folder / "graph", "float32", sparse=name == "sparse"))
    return [(folder / f"{name}.tflite").stat().st_size for name in ("dense", "sparse")]


def interleaved(one: str, other: str, threads: int, rounds: int = 7) -> tuple[float, float]:
    """Return the median milliseconds of two files, timed in turns, so that what else the machine does weighs on both
    alike."""
    from export.benchmark import latency
    from export.predictors import open_predictor

    runs = []
    for path in (one, other):
        predictor = open_predictor(Path(path), threads)
        signature = next(iter(predictor.signatures.values()))
        runs.append(predictor.prepared(signature.example()))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for own, run in zip(times, runs, strict=True):
            own.append(latency(run, runs=200, threads=threads).p50)
    return statistics.median(times[0]), statistics.median(times[1])


def tested(what: str, test: str) -> Row:
    """Return whether a test passes that keeps a promise."""
    tests = "tests/pipelines/variants/test_variants.py"
    code = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "", tests, "-k", test],
                          stdout=subprocess.DEVNULL).returncode
    return Row(what, "passed" if code == 0 else "failed", "passed", code == 0)


if __name__ == "__main__":
    main()
