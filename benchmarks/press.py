"""What `litepress press` makes of models that were made elsewhere: prints one table.

    .venv/bin/python benchmarks/press.py
    .venv/bin/python benchmarks/press.py --only applications
    .venv/bin/python benchmarks/press.py --only mutations --count 200

`applications` takes the networks of keras.applications, to logits, as Keras 2 and Keras 3 save them, and holds the
model that comes of each file, and its float32 TFLite file, against the original in its own library. `models` presses
small trained models of Keras 2, those of MLPerf Tiny beside the plain TensorFlow converter's files. `frameworks`
presses models of PyTorch (`make torch`), JAX and ONNX for three targets. `odd` presses
models, data and files as people have them. `layers` (a quarter of an hour) sends every layer of Keras through, in every
setting that changes what it computes. `mutations` changes bits, sizes and names in model files of every format:
whatever that does, the answer is one line, nothing is run, and the memory stays small. `python` holds `import
litepress` against the command. Exits 1 where a figure is missed.
"""
from __future__ import annotations

import argparse
import collections
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_layers
import numpy as np
import press_frameworks
import press_odd
import press_python
from compression import Row, print_table
from keras_layer_cases import cases
from press_models import MODELS, TINY, pressed

from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.tools import press
from pipelines.training.model_section import ImportedModel

#: Networks of keras.applications, and the side of the images that they are asked with.
APPLICATIONS = {"MobileNet": 64, "MobileNetV2": 64, "MobileNetV3Small": 64, "EfficientNetB0": 64,
                "EfficientNetV2B0": 64, "DenseNet121": 64, "ResNet50": 64, "ResNet50V2": 64, "NASNetMobile": 64,
                "Xception": 75, "InceptionV3": 75, "InceptionResNetV2": 75, "VGG16": 32, "ConvNeXtTiny": 64}
CLASSES, IMAGES = 7, 4
#: Largest difference of an output from the original's, as a share of its largest.
EQUAL = 1e-5
#: The same of models of other libraries, whose kernels add up in other orders.
ALIKE = 1e-4
MUTATIONS, MEMORY = 2000, 2e9
#: Mutated files that one process looks at.
TOGETHER = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"applications": applications, "models": models, "frameworks": frameworks, "odd": odd, "layers": layers,
             "mutations": mutations, "python": python}
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--count", type=int, default=MUTATIONS, help=f"mutated files (default: {MUTATIONS})")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.only:
        rows += parts[name](options)
    print_table(rows)
    sys.exit(not all(row.reached for row in rows))


def applications(options: argparse.Namespace) -> list[Row]:
    """Return a row for each network and form of file."""
    rows = []
    for name, side in APPLICATIONS.items():
        for form in ("keras 3 .keras", "keras 2 .h5", "keras 2 SavedModel"):
            try:
                error = workers.call(_difference, name, side, form, what=f"{name}, {form}")
            except (UserError, StageError) as failure:
                error = float("inf")
                print(failure, file=sys.stderr)
            rows.append(Row(f"{name}, {form}: against the original", f"{error:.1e}", f"<= {EQUAL:.0e}", error <= EQUAL))
    return rows


def _difference(name: str, side: int, form: str) -> float:
    """Return how far what `press` reads, and the float32 file that is made of it, are from the original, whose weights
    are random, as a share of its largest output."""
    import keras
    import tf_keras

    from export.conversion import convert
    from export.keras_models import imported
    from export.keras_models.load import load
    from export.predictors import LiteRTPredictor
    from pipelines.tools.inspect_model import functions_of

    library: Any = keras if form.startswith("keras 3") else tf_keras
    library.utils.set_random_seed(3)
    made = getattr(library.applications, name)(weights=None, input_shape=(side, side, 3), classes=CLASSES,
                                               classifier_activation=None)
    images = np.random.default_rng(0).uniform(0, 255, (IMAGES, side, side, 3)).astype("float32")
    expected = np.asarray(made(images, training=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / {"keras 3 .keras": "m.keras", "keras 2 .h5": "m.h5", "keras 2 SavedModel": "m"}[form]
        made.save(path)
        model, file = imported.named(load(path)), Path(folder) / "float32.tflite"
        convert.float_graph(model, functions_of, Path(folder) / "graph")
        file.write_bytes(convert.convert(Path(folder) / "graph", "float32"))
        (name,) = model.input
        both = [model({name: images}, training=False), LiteRTPredictor(file).predict({name: images})]
    return max(float(np.abs(np.asarray(answered) - expected).max() / np.abs(expected).max())
               for one in both for answered in one.values())


def models(options: argparse.Namespace) -> list[Row]:
    """Return rows of each trained model: its float32 file, and its int8 file beside the plain converter's."""
    rows = []
    for name in MODELS:
        title, is_tiny = name.replace("_", " "), name in TINY
        try:
            one = pressed(name, plain=is_tiny)
        except (StageError, subprocess.CalledProcessError) as failure:
            print(failure, getattr(failure, "stderr", ""), file=sys.stderr)
            rows.append(Row(f"{title}: pressed", "no", "yes", False))
            continue
        rows.append(Row(f"{title}, float32: against the original", f"{one.largest:.1e}", f"<= {EQUAL:.0e}",
                        one.largest <= EQUAL))
        what, bound, reached = "agreement", "made", True
        measured = f"{one.agreement:.4f}, mean {one.mean:.4f}"
        if name == "anomaly_detection":  # of 640 numbers none is the answer
            what, bound = "mean difference", f"<= {one.plain_mean:.4f}"
            measured, reached = f"{one.mean:.4f}", one.mean <= (one.plain_mean or 0)
        elif is_tiny:
            bound, reached = f">= {one.plain_agreement:.4f}", one.agreement >= (one.plain_agreement or 0)
        rows.append(Row(f"{title}, int8: {what}" + (", plain converter's beside" if is_tiny else ""), measured, bound,
                        reached))
    return rows


def frameworks(options: argparse.Namespace) -> list[Row]:
    """Return rows of each model of PyTorch, JAX and ONNX: its float32 files against the original in its own library,
    and how often its int8 and dynamic files agree with it."""
    rows = []
    for form, name in press_frameworks.MODELS:
        title = f"{name} of {press_frameworks.LIBRARIES[form]}"
        try:
            one = press_frameworks.pressed(form, name)
            print(f"{title}: {one}", file=sys.stderr)
        except (ValueError, subprocess.CalledProcessError) as failure:
            print(failure, getattr(failure, "stderr", ""), file=sys.stderr)
            rows.append(Row(f"{title}: pressed", "no", "yes", False))
            continue
        for target, largest in one.largest.items():
            rows.append(Row(f"{title}, float32, {target}: against the original", f"{largest:.1e}", f"<= {ALIKE:.0e}",
                            largest <= ALIKE))
        rows += [Row(f"{title}, {variant}, {target}: agreement", f"{agreement:.4f}", "made", True)
                 for (variant, target), agreement in one.agreement.items()]
    return rows


def odd(options: argparse.Namespace) -> list[Row]:
    """Return a row of each model, data or file as people have them."""
    return [Row(title, *press_odd.tried(title)) for title in press_odd.ODD]


def layers(options: argparse.Namespace) -> list[Row]:
    """Return rows of every layer of Keras: what holds, and that the others are on the page of docs."""
    outcomes = [keras_layers.outcome_of(number) for number in range(len(cases()))]
    promised = keras_layers.promised()
    rows = []
    for place, step in enumerate(keras_layers.Outcome.model_fields):
        holds = sum(not getattr(outcome, step) for outcome in outcomes)
        wrong = [case.title for case, outcome in zip(cases(), outcomes, strict=True)
                 if (not getattr(outcome, step)) != (promised[case.title][place] == "yes")]
        rows.append(Row(f"layers of Keras, {step}: not as docs/keras_layers.md says", ", ".join(wrong) or
                        f"none; {holds} of {len(outcomes)} hold", "none", not wrong))
    return rows


def python(options: argparse.Namespace) -> list[Row]:
    """Return what `import litepress` takes, and whether it gives the command's figures."""
    return press_python.rows()


def mutations(options: argparse.Namespace) -> list[Row]:
    """Return what happens to files that were changed: how many were refused in one line, or read, and the memory."""
    generator = random.Random(0)
    outcomes: collections.Counter[str] = collections.Counter()
    largest = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = workers.call(_write, folder, what="writing the models")
        for first in range(0, options.count, TOGETHER):
            paths = [_mutated(originals[number % len(originals)], folder / str(number), generator)
                     for number in range(first, min(first + TOGETHER, options.count))]
            try:
                answers = workers.call(_described, paths, what="mutations")
            except StageError:  # one of them: look at each in a process of its own
                answers = [answer for path in paths for answer in _described_alone(path)]
            for message, took in answers:
                largest = max(largest, took)
                outcomes["crashed" if message is None else "read" if not message else "refused" if "\n" not in message
                         else "refused in several lines"] += 1
                if message and "\n" in message:
                    print(message, file=sys.stderr)
            for path in paths:
                shutil.rmtree(path.parent)
            print(f"{first + len(paths)} files: {dict(outcomes)}", file=sys.stderr)
        ran = (folder / "ran.txt").exists()
    fine = outcomes["read"] + outcomes["refused"]
    return [Row("mutated files that were read or refused in one line", f"{fine} of {options.count}",
                f"{options.count}", fine == options.count),
            Row("their code run", "yes" if ran else "no", "no", not ran),
            Row("memory of the process that looked at them", f"{largest / 1e6:,.0f} MB", f"<= {MEMORY / 1e6:,.0f} MB",
                largest <= MEMORY)]


def _write(folder: Path) -> list[Path]:
    """Write a model in every format, and in ONNX where its tools are installed; some hold code, which leaves a trace
    where it runs."""
    import keras
    import tensorflow as tf
    import tf_keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from export.targets import onnx, tools

    trace = eval(f"lambda x: (open({str(folder / 'ran.txt')!r}, 'a').write('ran'), x * 2.0)[1]")
    paths = []
    for library, names in ((keras, ("three.keras", "three.h5")), (tf_keras, ("two.h5", "two.keras", "two"))):
        for name in names:
            layers = library.layers
            inputs = library.Input((8, 8, 3))
            x = layers.Lambda(trace, output_shape=(8, 8, 3))(inputs) if name == "two.h5" else inputs
            x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
            model = library.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
            model.save(folder / name)
            paths.append(folder / name)
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder / "two")).convert()
    (folder / "model.tflite").write_bytes(content)
    paths.append(folder / "model.tflite")
    frozen = convert_variables_to_constants_v2(tf.function(lambda image: model(image)).get_concrete_function(
        tf.TensorSpec((None, 8, 8, 3), tf.float32, "image")))
    (folder / "frozen.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    paths.append(folder / "frozen.pb")
    if not tools.missing("onnx"):
        (folder / "model.onnx").write_bytes(onnx.convert(content))
        paths.append(folder / "model.onnx")
    (folder / "ran.txt").unlink(missing_ok=True)
    return paths


def _mutated(original: Path, folder: Path, generator: random.Random) -> Path:
    """Write a copy of a model into a folder of its own with some of its bytes changed, cut off, or repeated; of a
    folder, in its graph."""
    folder.mkdir()
    target = folder / f"mutated{original.suffix}"
    if original.is_dir():
        shutil.copytree(original, target)
        file = target / generator.choice(["saved_model.pb", "keras_metadata.pb", "variables/variables.index"])
    else:
        shutil.copy(original, target)
        file = target
    if zipfile.is_zipfile(file) and generator.random() < 0.5:
        _change_a_member(file, generator)
        return target
    file.write_bytes(_changed(bytearray(file.read_bytes()), generator))
    return target


def _change_a_member(path: Path, generator: random.Random) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = generator.choice(sorted(members))
    members[chosen] = _changed(bytearray(members[chosen]), generator)
    if generator.random() < 0.2:
        members[generator.choice(["../out.txt", "/tmp/out.txt", "a" * 300])] = b"x"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _changed(content: bytearray, generator: random.Random) -> bytes:
    kind = generator.choice(["bits", "bits", "bits", "cut", "repeat", "large"])
    if kind == "cut":
        return bytes(content[:generator.randrange(len(content) + 1)])
    start = generator.randrange(max(1, len(content) - 8))
    if kind == "repeat":
        return bytes(content[:start] + content[start:start + 64] * generator.randrange(2, 50) + content[start:])
    if kind == "large":
        content[start:start + 4] = b"\xff\xff\xff\x7f"
        return bytes(content)
    for _ in range(generator.randrange(1, 20)):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(content)


def _described(paths: Sequence[Path]) -> list[tuple[str | None, int]]:
    """Look at models as `press` does first; return what it says of each where it refuses it, and the memory that this
    process has taken at most so far, in bytes."""
    answers: list[tuple[str | None, int]] = []
    for path in paths:
        message = ""
        try:
            press.describe(ImportedModel(path=str(path)))
        except UserError as error:
            message = str(error)
        answers.append((message, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    return answers


def _described_alone(path: Path) -> list[tuple[str | None, int]]:
    """Do so in a process of its own; None stands for a crash."""
    try:
        return workers.call(_described, [path], what=path.parent.name)
    except StageError as error:
        print(f"{path.name}, mutation {error}", file=sys.stderr)
        return [(None, 0)]


if __name__ == "__main__":
    main()
