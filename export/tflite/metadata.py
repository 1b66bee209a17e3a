"""Metadata inside a .tflite file, in the format that MediaPipe Tasks and the TFLite Task Library read.

A flatbuffer by the published schema (tensorflow/tflite-support, metadata_schema.fbs; identifier M001) lies in a buffer
of the model that its metadata calls TFLITE_METADATA; the files that it names, such as the labels, are a zip archive
behind the model. The slots of the tables are the schema's, a union taking two: what it is, and the value.
"""
from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from etils import epy
from pydantic import BaseModel

from export.delivery.archive import write_zip
from export.signature import Signature, Tensor
from export.tflite import file as tflite_file
from export.tflite import mediapipe_options, signatures, texts
from export.tflite.detection import BOXES, CLASSES, COUNT, LOCATION, SCORES, Decoding
from export.tflite.signatures import TensorInfo
from export.tflite.tables import Tables

with epy.lazy_imports():
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import table

FIELD, IDENTIFIER, PARSER_VERSION = b"TFLITE_METADATA", b"M001", "1.0.0"
LABELS, CALIBRATION = "labels.txt", "score_calibration.txt"
FEATURE, IMAGE = 1, 2  # ContentProperties
NORMALIZATION, SCORE_CALIBRATION = 1, 2  # ProcessUnitOptions
RGB, GRAYSCALE = 1, 2  # ColorSpaceType
AXIS_LABELS, VALUE_LABELS, AXIS_CALIBRATION = 2, 3, 4  # AssociatedFileType
SOUND = 4  # ContentProperties
BOUNDING_BOX, BOUNDARIES, RATIO = 3, 1, 0  # ContentProperties, BoundingBoxType, CoordinateType
#: Where xmin, ymin, xmax and ymax stand in a box, ymin, xmin, ymax, xmax.
SIDES = [1, 0, 3, 2]
#: What MediaPipe's ObjectDetector calls the outputs of detectors, by our names; it finds them by theirs.
DETECTOR = {BOXES: "location", CLASSES: "category", SCORES: "score", COUNT: "number of detections"}
#: What a tensor of a role is, where its signature does not say it.
MEANINGS = {"image": "Raw pixels 0..255.", "logits": "One per class; their softmax are the probabilities."}
#: What a file takes whose model takes grey images, see `export.tflite.phone`.
RGB_FRONT = "raw pixels 0..255, RGB, which the file averages"
#: A tensor of a file, and what it is.
Described: TypeAlias = tuple[TensorInfo, Tensor]


class Calibration(BaseModel):
    """How logits become probabilities, alike for all classes: 1 / (1 + exp(-(slope * logit + offset))) (Platt 1999)."""

    slope: float
    offset: float


class Description(BaseModel):
    """What a model's file says of itself.

    Args:
        task: by its name in a recipe; files do not hold it.
        version, author, license: as the maker gives them; empty ones are left out.
        labels: class names by number; none where there are no classes.
        calibration: of its scores; without it a reader takes logits as they are.
        signature: what its tensors mean; roles are guessed where it is not given. Files do not hold it.
        decoding: how boxes come of what a detector's network gives. Files do not hold it.
        places: where key points of what an image shows lie in it, by name: y and x as shares. Files do not hold it.
        rate: of sound that it takes, in samples a second; 0 where it takes none.
    """

    name: str
    task: str = "image_classification"
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    labels: list[str] = []
    calibration: Calibration | None = None
    signature: Signature | None = None
    decoding: Decoding | None = None
    places: dict[str, tuple[float, float]] = {}
    rate: int = 0

    def tensor(self, info: TensorInfo, *, output: bool = False) -> Tensor:
        """Return what a tensor of a file is, as the signature has it under its name, or alone; else as guessed."""
        tensors: tuple[Tensor, ...] = ()
        if self.signature is not None:
            tensors = self.signature.outputs if output else self.signature.inputs
        of_rank = [tensor for tensor in tensors if len(tensor.shape) == len(info.shape) - 1]
        named = [tensor for tensor in of_rank if tensor.name == info.name or len(tensors) == 1]
        tensor = named[0] if named else info.described(output=output)
        if tensor.role != "image" or output or tensor.shape[-1] != 1 or info.shape[-1] != 3:
            return tensor
        return tensor.model_copy(update={"meaning": f"{RGB_FRONT} ({tensor.meaning})" if tensor.meaning else RGB_FRONT})


def embed(content: bytes, about: Description) -> bytes:
    """Return the same model with metadata inside: of the tensors of its main graph, and of its classes.

    An image is raw pixels: a float one is normalized with mean 0 and deviation 1. Labels and the calibration of scores
    belong to the first output of logits or scores; without one they are left out.

    Args:
        content: a TFLite file.

    Raises:
        ValueError: there are not as many labels as classes.
    """
    model = tflite_file.read(content)
    inputs, outputs = _tensors(content, about)
    boxes = any(tensor.name == BOXES for _, tensor in outputs)
    scored = next((number for number, (_, tensor) in enumerate(outputs) if (
        tensor.name == CLASSES if boxes else tensor.role in ("logits", "scores"))), None)
    files = {} if scored is None else _of_classes(about) if boxes else _of_scores(about, outputs[scored][0])
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_flatbuffer(about, inputs, outputs, scored, files), "uint8")
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = FIELD, len(model.buffers) - 1
    files |= texts.vocabularies([tensor for _, tensor in inputs])
    model.metadata = [*(one for one in model.metadata or [] if one.name != FIELD), entry]
    written = tflite_file.write(model)
    if not files:
        return written
    behind = io.BytesIO(written)
    write_zip(behind, files, compress=False)  # readers map the files as they lie there
    return behind.getvalue()


def _of_classes(about: Description) -> dict[str, bytes]:
    """Return the file of class names of an output of classes."""
    return {LABELS: "\n".join(about.labels).encode()} if about.labels else {}


def _of_scores(about: Description, info: TensorInfo) -> dict[str, bytes]:
    """Return the files of an output of logits or scores, by name. Raises ValueError."""
    if not about.labels:
        return {}
    if len(about.labels) != info.shape[-1]:
        raise ValueError(f"there are {len(about.labels)} labels, but the model has {info.shape[-1]} classes: "
                         "give one line per class")
    files = {LABELS: "\n".join(about.labels).encode()}
    if about.calibration is not None:
        line = f"1.0,{about.calibration.slope:.6g},{about.calibration.offset:.6g}"
        files[CALIBRATION] = "\n".join([line] * len(about.labels)).encode()
    return files


def read(content: bytes) -> Description | None:
    """Return what a file says of itself; None where it has no metadata. Raises ValueError where they are damaged."""
    model = tflite_file.read(content)
    entry = next((one for one in model.metadata or [] if one.name == FIELD), None)
    if entry is None:
        return None
    try:
        data = bytes(model.buffers[entry.buffer].data)
        root = table.Table(data, int.from_bytes(data[:4], "little"))
        texts = [_text(root, slot) for slot in (0, 1, 2, 4, 5)]
        labels, scores = _files(content) if LABELS.encode() in data else ([], [])
    except (zipfile.BadZipFile, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"damaged metadata ({type(error).__name__})") from error
    calibration = Calibration(slope=float(scores[1]), offset=float(scores[2])) if scores else None
    return Description(name=texts[0], description=texts[1], version=texts[2], author=texts[3], license=texts[4],
                       labels=labels, calibration=calibration)


def fit(logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
    """Return the calibration that makes the scores of held-out examples most likely, each class against the rest. None
    where the scores say nothing of the truth, as those of a model that has not learnt.

    Args:
        logits: (examples, classes).
        labels: (examples,), the true classes.
    """
    from sklearn.linear_model import LogisticRegression

    is_true = (labels[:, None] == np.arange(logits.shape[1])).ravel()
    model = LogisticRegression().fit(logits.reshape(-1, 1).astype(np.float64), is_true)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Calibration(slope=slope, offset=offset) if math.isfinite(slope) and slope > 0 else None


def _tensors(content: bytes, about: Description) -> tuple[list[Described], list[Described]]:
    """Return the inputs and outputs of the main graph with what they are, in its order, which readers go by."""
    graph = tflite_file.read(content).subgraphs[0]
    candidates = [signatures.main(content), *signatures.of(content).values()]
    signature = next(candidate for candidate in candidates if candidate.subgraph == 0)
    inputs = _ordered(signature.inputs, graph.inputs)
    outputs = _ordered(signature.outputs, graph.outputs)
    return ([(info, about.tensor(info)) for info in inputs],
            [(info, about.tensor(info, output=True)) for info in outputs])


def _ordered(infos: Mapping[str, TensorInfo], indices: Iterable[int]) -> list[TensorInfo]:
    """Return the tensors with these numbers, in their order."""
    by_index = {info.index: info for info in infos.values()}
    return [by_index[int(index)] for index in indices if int(index) in by_index]


def _files(content: bytes) -> tuple[list[str], list[str]]:
    """Return the labels, and the parts of the first line of the calibration, as they lie behind a model."""
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        labels = files.read(LABELS).decode().split("\n")
        scores = files.read(CALIBRATION).decode().split("\n")[0].split(",") if CALIBRATION in files.namelist() else []
    return labels, scores


def _flatbuffer(about: Description, inputs: Sequence[Described], outputs: Sequence[Described], scored: int | None,
                files: Collection[str]) -> bytes:
    """Return the metadata of a model.

    Args:
        scored: the output that the files belong to.
        files: LABELS and CALIBRATION, as far as there are such.
    """
    builder = flatbuffers.Builder(1024)
    build = Tables(builder)
    of_inputs = [_input(build, info, tensor, about.rate) for info, tensor in inputs]
    of_outputs = [_output(build, tensor, files if number == scored else ())
                  for number, (_, tensor) in enumerate(outputs)]
    custom = [build({0: ("text", name), 1: ("bytes", options)}) for name, options in
              mediapipe_options.of(outputs, PARSER_VERSION)]
    graph = build({2: ("tables", of_inputs), 3: ("tables", of_outputs), **({9: ("tables", custom)} if custom else {})})
    texts = {0: about.name, 1: about.description, 2: about.version, 4: about.author, 5: about.license,
             7: PARSER_VERSION}
    root = build({3: ("tables", [graph]), **{slot: ("text", text) for slot, text in texts.items() if text}})
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _input(build: Tables, info: TensorInfo, tensor: Tensor, rate: int) -> int:
    """Write the metadata of an input; return where they are.

    Args:
        rate: of sound, in samples a second.
    """
    if tensor.role == "waveform" and rate:
        sound = build({0: ("uint", rate), 1: ("uint", 1)})
        return build({**_texts(tensor), 3: ("table", build({0: ("ubyte", SOUND), 1: ("table", sound)}))})
    if tensor.role != "image" or len(info.shape) != 4:
        content = build({0: ("ubyte", FEATURE), 1: ("table", build({}))})
        return build({**_texts(tensor), 3: ("table", content), **texts.tokenizer(build, tensor)})
    height, width, channels = info.shape[1:]
    image: dict[int, tuple[str, Any]] = {0: ("byte", RGB if channels == 3 else GRAYSCALE)}
    if height > 0 and width > 0:
        image[1] = ("table", build({0: ("uint", width), 1: ("uint", height)}))
    properties = build(image)
    normalization = build({0: ("floats", [0.0]), 1: ("floats", [1.0])})
    bounds = build({0: ("int", 0), 1: ("int", 255)})
    return build({
        **_texts(tensor),
        3: ("table", build({0: ("ubyte", IMAGE), 1: ("table", properties), 2: ("table", bounds)})),
        4: ("tables", [build({0: ("ubyte", NORMALIZATION), 1: ("table", normalization)})]),
        5: ("table", build({0: ("floats", [255.0]), 1: ("floats", [0.0])}))})


def _output(build: Tables, tensor: Tensor, files: Collection[str]) -> int:
    """Write the metadata of an output, with the files that belong to it; return where they are."""
    associated, units = [], []
    if LABELS in files:
        kind = VALUE_LABELS if tensor.name == CLASSES else AXIS_LABELS
        associated.append(build({0: ("text", LABELS), 1: ("text", "Class names by number."), 2: ("byte", kind)}))
    if CALIBRATION in files:
        associated.append(build({0: ("text", CALIBRATION), 2: ("byte", AXIS_CALIBRATION)}))
        units.append(build({0: ("ubyte", SCORE_CALIBRATION), 1: ("table", build({0: ("byte", 0), 1: ("float", 0.0)}))}))
    content = build({0: ("ubyte", FEATURE), 1: ("table", build({}))})
    if tensor.name in (BOXES, LOCATION):
        sides = build({0: ("uints", SIDES), 1: ("byte", BOUNDARIES), 2: ("byte", RATIO)})
        content = build({0: ("ubyte", BOUNDING_BOX), 1: ("table", sides)})
    return build({
        **_texts(tensor), 3: ("table", content),
        **({4: ("tables", units)} if units else {}), **({6: ("tables", associated)} if associated else {})})


def _texts(tensor: Tensor) -> dict[int, tuple[str, Any]]:
    """Return the fields for a tensor's name and for what it means."""
    meaning = tensor.meaning or MEANINGS.get(tensor.role, "")
    return {0: ("text", DETECTOR.get(tensor.name, tensor.name)), **({1: ("text", meaning)} if meaning else {})}


def _text(root: Any, slot: int) -> str:
    offset = root.Offset(4 + 2 * slot)
    return root.String(offset + root.Pos).decode() if offset else ""
