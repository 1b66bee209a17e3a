"""`litepress explain`: how far every operator of an integer file is from the float model's, and what to do about it."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from export.conversion import convert
from export.keras_models.load import load
from export.keras_models.pixels import Pixels
from export.tflite import explain, signatures
from export.tflite import file as tflite_file
from pipelines.errors import UserError
from pipelines.figures import compression
from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tools.data_option import images_of, is_unlabelled, source_of
from pipelines.tools.inspect_model import functions_of
from pipelines.tools.press import USUAL, adopted

if TYPE_CHECKING:
    import numpy as np

#: Of the draw of a test split, where the data have none.
SEED = 7


def explain_file(model: Path, reference: Path, data: str, examples: int, figure: Path | None,
                 pixels: Pixels) -> list[str]:
    """Return the lines of `litepress explain`: the errors of every operator, and advice for the worst three.

    Args:
        model: an integer .tflite file.
        reference: the float model, .keras or .h5, or a float .tflite file.
        data: see `pipelines.tools.data_option`.
        examples: how many images to run.
        figure: where to draw the errors along the network.
        pixels: the range that a reference made elsewhere was trained on.

    Raises:
        UserError: a file cannot be read, the two are not of one model, or it does not take one image.
    """
    try:
        content, exact = _content(model), _float_content(reference, pixels)
        (name, image), *others = signatures.main(exact).inputs.items()
        shape = image.shape[1:]  # a file for phones may take RGB where the model takes grey images
        if others or len(shape) != 3 or shape[-1] not in (1, 3):
            names = ", ".join(signatures.main(exact).inputs)
            raise UserError(f"explain: {reference} takes {names}; only models of one image are explained so far")
        inputs = {name: _sample(data, shape, examples)}
        errors = explain.layer_errors(content, exact, inputs)
    except ValueError as error:
        raise UserError(f"explain: {error}") from error
    if not errors:
        raise UserError(f"explain: {model} has no integer operators; give a quantized file")
    advice = [explain.advice(one) for one in explain.worst(errors)] or ["no operator adds noise of its own"]
    lines = [*explain.table(errors), "", *advice]
    if figure is not None:
        compression.layers(errors, figure)
        lines.append(f"see {figure}")
    return lines


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        tflite_file.read(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _float_content(reference: Path, pixels: Pixels) -> bytes:
    if reference.suffix == ".tflite":
        return _content(reference)
    own = reference.suffix == ".keras" and pixels == USUAL  # as litepress writes them, or like those
    model = load(reference) if own else adopted(reference, load(reference), pixels)
    with tempfile.TemporaryDirectory() as folder:
        convert.float_graph(model, functions_of, Path(folder) / "graph")
        return convert.convert(Path(folder) / "graph", "float32")


def _sample(data: str, shape: tuple[int, ...], examples: int) -> np.ndarray:
    """Return some images of the data, of the test split where they have labels, as raw pixels in the model's shape."""
    if is_unlabelled(data):
        return images_of(data, shape)[:examples]
    source = source_of(data)
    source.fingerprint()
    source.prepare()
    task = ImageClassification()
    image = {"size": list(shape[:2]), "channels": shape[2]}
    section = DataSection.model_validate({"source": source.written(), "image": image})
    section.fill(task.features)
    index = build_index(section, task, SEED)
    inputs, _ = Data(section, task, index, SEED).arrays("test", examples)
    return next(iter(inputs.values()))
