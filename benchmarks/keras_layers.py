"""What every layer of Keras comes through: reading, the bridge, float32 and int8 files.

    python benchmarks/keras_layers.py                # the table of docs/keras_layers.md
    python benchmarks/keras_layers.py BatchNormalization Conv2D
"""
from __future__ import annotations

import argparse
import re
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras_layer_cases import cases
from pydantic import BaseModel

from export.conversion import convert, unrolled
from export.errors import first_line
from export.keras_models import bridge, graph
from export.keras_models import file as keras_file
from export.keras_models.load import load
from export.predictors import LiteRTPredictor
from export.tflite import file as tflite_file
from pipelines.engine import workers
from pipelines.errors import StageError
from pipelines.tools.inspect_model import functions_of

#: Largest difference from Keras' own answer, as a share of its largest output.
EQUAL = 1e-5
PAGE = Path(__file__).resolve().parent.parent / "docs" / "keras_layers.md"


class Outcome(BaseModel):
    """What came of a layer, step by step: "" where it holds, else why not.

    Args:
        load: saved as a .keras file and read again, it answers alike.
        bridge: in tf_keras, and back from there, it answers alike.
        float32: the TFLite file answers alike, within `EQUAL`.
        int8: an integer file can be made and answers; otherwise what stays float in it.
    """

    load: str
    bridge: str
    float32: str
    int8: str


def measure(number: int, integers: bool = True) -> Outcome:
    """Return what comes of the case of this number.

    Args:
        integers: make an int8 file; otherwise that is left out.
    """
    case = cases()[number]
    made = case.model()
    inputs = case.inputs(made)
    expected = {name: np.asarray(values) for name, values in made(inputs, training=False).items()}

    def differs(answered: Any) -> str:
        for name, values in expected.items():
            error = np.abs(np.asarray(answered[name], np.float64) - values).max()
            if not error <= EQUAL * max(1.0, np.abs(values).max()):
                return f"off by {error:.1e}"
        return ""

    def crossed() -> str:
        there = bridge.to_tf_keras(made)
        named = {tensor.name.split(":")[0]: inputs[tensor.name.split(":")[0]] for tensor in there.inputs}
        return differs(there(named, training=False)) or differs(bridge.to_keras(there)(inputs, training=False))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_file.save(made, folder / "model.keras")
        outcome = {"load": _tried(lambda: differs(load(folder / "model.keras")(inputs, training=False))
                                  if made.weights else ""),
                   "bridge": _tried(crossed)}
        signature = graph.signature_of(made)
        try:
            convert.float_graph(made, functions_of, folder / "graph")
        except Exception as error:
            return Outcome(**outcome, float32=first_line(error), int8="–")

        def float32() -> str:
            path = folder / "float32.tflite"
            path.write_bytes(convert.convert(folder / "graph", "float32"))
            return differs(LiteRTPredictor(path).predict(inputs))

        def int8() -> str:
            path, source = folder / "int8.tflite", folder / "graph"
            if (without_loops := unrolled.unrolled(made)) is not None:
                source = folder / "unrolled"
                convert.float_graph(without_loops, functions_of, source)
            path.write_bytes(convert.convert(source, "int8", [(signature.name, inputs)], all_integer=False))
            LiteRTPredictor(path).predict(inputs)
            kept = tflite_file.float_operators(path.read_bytes())
            return f"{', '.join(kept)} float" if kept else ""

        return Outcome(**outcome, float32=_tried(float32), int8=_tried(int8) if integers else "")


def _tried(step: Callable[[], str]) -> str:
    try:
        return step()
    except Exception as error:  # what the layer does not do, in the words of whoever refused
        return first_line(error)


def outcome_of(number: int) -> Outcome:
    """Return what comes of a case, measured in a process of its own: some conversions crash."""
    try:
        return workers.call(measure, number, what="int8")
    except StageError as error:
        why = str(error).split(".")[0]
        try:
            floats: Outcome = workers.call(measure, number, False, what="a model of it")
        except StageError as failure:
            return Outcome(load=str(failure).split(".")[0], bridge="–", float32="–", int8="–")
        return floats.model_copy(update={"int8": why})


def promised() -> dict[str, list[str]]:
    """Return what docs/keras_layers.md says of each layer, cell by cell, by its title."""
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    return {title: cells.split(" | ") for title, cells in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", metavar="LAYER", help="these alone")
    options = parser.parse_args()
    print("| layer | read again | tf_keras and back | float32 | int8 |\n| --- | --- | --- | --- | --- |")
    for number, case in enumerate(cases()):
        if options.layers and case.kind not in options.layers:
            continue
        outcome = outcome_of(number)
        cells = [textwrap.shorten(value.replace("|", "/"), 160, placeholder=" …") or "yes"
                 for value in outcome.model_dump().values()]
        print(f"| `{case.title}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
