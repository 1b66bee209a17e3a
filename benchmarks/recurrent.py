"""Recurrent models made by hand in Keras 3 through `litepress press`: operators, bytes, differences and speed.

    python benchmarks/recurrent.py
    python benchmarks/recurrent.py --only lstm --inputs 10000

Four LSTM(128) over 100 steps of 32 numbers and a dense layer, and two GRU(32) over 100 steps of 16, with weights
under which states last and cells grow. The int8 file of the LSTMs is asked random inputs besides: it must answer each,
with numbers.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.predictors import open_predictor
from export.tflite import file as tflite_file

LITEPRESS = str(Path(sys.executable).with_name("litepress"))
SEQUENCES = 400
STEPS = 100
LSTM_VARIANTS = "float32,float16,dynamic,int8,{streaming: {chunk: 10, step_seconds: 0.01}}"
GRU_VARIANTS = ("float32,float16,dynamic,int8,{streaming: {step_seconds: 0.01}},"
                "{streaming: {name: steps_int16x8, encode: int16x8, step_seconds: 0.01}}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("lstm", "gru"), help="one of the two")
    parser.add_argument("--inputs", type=int, default=10_000, help="random inputs of the int8 LSTMs (default: 10,000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "gru":
            layers = [keras.layers.LSTM(128, return_sequences=number < 3) for number in range(4)]
            files = pressed(folder / "lstm", model_of(32, 10, layers), 32, LSTM_VARIANTS, "litert,microcontroller")
            odd(files["int8"], 32, options.inputs)
        if options.only != "lstm":
            layers = [keras.layers.GRU(32, return_sequences=number < 1) for number in range(2)]
            pressed(folder / "gru", model_of(16, 6, layers), 16, GRU_VARIANTS,
                    "litert,{microcontroller: {variants: [int8, steps_int16x8]}}")


def model_of(features: int, outputs: int, layers: list[Any]) -> keras.Model:
    """Return a model with weights that keep what they saw: orthogonal ones from step to step, forget gates open."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((STEPS, features), name="x"), *layers, keras.layers.Dense(outputs)])
    for layer in model.layers:
        weights = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if "recurrent" in weight.path:
                gates = shape[1] // shape[0]
                parts = [np.linalg.qr(rng.normal(size=(shape[0], shape[0])))[0] for _ in range(gates)]
                weights.append(np.concatenate(parts, axis=1))
            elif "bias" in weight.path:
                bias = rng.normal(0, 0.2, shape)
                if isinstance(layer, keras.layers.LSTM):
                    bias[shape[0] // 4:shape[0] // 2] += 1
                weights.append(bias)
            else:
                weights.append(rng.normal(0, 1.5 / np.sqrt(shape[0]), shape))
        layer.set_weights([weight.astype("float32") for weight in weights])
    return model


def pressed(folder: Path, model: keras.Model, features: int, variants: str, targets: str) -> dict[str, Path]:
    """Press a model, print a line for each file, and return the files by their variants."""
    folder.mkdir()
    model.save(folder / "model.keras")
    values = np.random.default_rng(1).normal(size=(SEQUENCES, STEPS, features)).astype("float32")
    np.savez(folder / "windows.npz", x=values)
    subprocess.run([LITEPRESS, "press", "model.keras", "--data", "windows.npz", "--variants", variants, "--targets",
                    targets, "--no-track", "--json", "results.json"], cwd=folder, check=True)
    results = json.loads((folder / "results.json").read_text())
    files = {}
    whole = next(one["bytes"] for one in results["artifacts"] if one["variant"] == "float32")
    print(f"\n{'file':<30} {'bytes':>10} {'of float':>9} {'max |Δ|':>8} {'p50 ms':>8}  operators")
    for one in results["artifacts"]:
        path = folder / one["path"]
        kinds = one["operators"]
        if path.suffix == ".tflite":
            files[one["variant"]] = path
            kinds = tflite_file.operators(path.read_bytes())
        shown = " ".join(f"{kind}×{count}" for kind, count in kinds.items()
                         if kind in ("UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE"))
        print(f"{one['target'] + ' ' + one['variant']:<30} {one['bytes']:>10,} {one['bytes'] / whole:>9.3f} "
              f"{one['max_error']:>8.0e} {one['latency_ms']['p50']:>8.3f}  {shown}")
    return files


def odd(path: Path, features: int, count: int) -> None:
    """Ask a file random inputs of all sizes. Exits with 1 where an answer is not a number."""
    rng = np.random.default_rng(2)
    predictor = open_predictor(path)
    asked = 0
    while asked < count:
        some = min(500, count - asked)
        sizes = 10.0 ** rng.uniform(-3, 3, (some, 1, 1))
        values = (sizes * rng.normal(size=(some, STEPS, features))).astype("float32")
        answers = next(iter(predictor.predict({"x": values}).values()))
        if not np.isfinite(answers).all():
            sys.exit(f"an answer to the inputs from {asked} on is not a number")
        asked += some
    print(f"\n{count:,} random inputs of the int8 file: each answered, with numbers")


if __name__ == "__main__":
    main()
