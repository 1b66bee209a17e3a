"""Metadata inside a .tflite file, in the format that MediaPipe Tasks and the TFLite Task Library read.

A flatbuffer by the published schema (tensorflow/tflite-support, metadata_schema.fbs; identifier M001) lies in a buffer of the model that
its metadata calls TFLITE_METADATA; the files that it names, such as the labels, are a zip archive behind the model. The slots of the
tables are the schema's, a union taking two: what it is, and the value.
"""
from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.delivery.archive import write_zip
from export.tflite import file as tflite_file

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
AXIS_LABELS, AXIS_CALIBRATION = 2, 4  # AssociatedFileType


class Calibration(BaseModel):
    """How logits become probabilities, the same way for every class: 1 / (1 + exp(-(slope * logit + offset))) (Platt 1999)."""

    slope: float
    offset: float


class Description(BaseModel):
    """What a classifier's file says of itself.

    Args:
        labels: class names by number.
        version, author, license: as the maker gives them; empty ones are left out.
        calibration: of its scores; without it a reader takes logits as they are.
    """

    name: str
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    labels: list[str]
    calibration: Calibration | None = None


def embed(content: bytes, about: Description) -> bytes:
    """The same model with metadata inside. Its input takes raw pixels: a float one is normalized with mean 0 and deviation 1.

    Args:
        content: a TFLite file of one picture (1, height, width, channels) and one output (1, classes).

    Raises:
        ValueError: there are not as many labels as classes.
    """
    model = tflite_file.read(content)
    graph = model.subgraphs[0]
    shape, outputs = graph.tensors[int(graph.inputs[0])].shape, graph.tensors[int(graph.outputs[0])].shape
    if len(about.labels) != int(outputs[-1]):
        raise ValueError(f"there are {len(about.labels)} labels, and the model tells {int(outputs[-1])} classes apart: give one line per "
                         "class")
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_flatbuffer(about, tuple(map(int, shape))), "uint8")
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = FIELD, len(model.buffers) - 1
    model.metadata = [*(one for one in model.metadata or [] if one.name != FIELD), entry]
    files = {LABELS: "\n".join(about.labels).encode()}
    if about.calibration is not None:
        line = f"1.0,{about.calibration.slope:.6g},{about.calibration.offset:.6g}"
        files[CALIBRATION] = "\n".join([line] * len(about.labels)).encode()
    behind = io.BytesIO(tflite_file.write(model))
    write_zip(behind, files, compress=False)  # readers map the files as they lie there
    return behind.getvalue()


def read(content: bytes) -> Description | None:
    """What a file says of itself; None where it has no metadata. Raises ValueError where they are damaged."""
    model = tflite_file.read(content)
    entry = next((one for one in model.metadata or [] if one.name == FIELD), None)
    if entry is None:
        return None
    try:
        data = bytes(model.buffers[entry.buffer].data)
        root = table.Table(data, int.from_bytes(data[:4], "little"))
        texts = [_text(root, slot) for slot in (0, 1, 2, 4, 5)]
        with zipfile.ZipFile(io.BytesIO(content)) as files:
            labels = files.read(LABELS).decode().split("\n") if LABELS in files.namelist() else []
            scores = files.read(CALIBRATION).decode().split("\n")[0].split(",") if CALIBRATION in files.namelist() else []
    except (zipfile.BadZipFile, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"damaged metadata ({type(error).__name__})") from error
    return Description(name=texts[0], description=texts[1], version=texts[2], author=texts[3], license=texts[4], labels=labels,
                       calibration=Calibration(slope=float(scores[1]), offset=float(scores[2])) if scores else None)


def fit(logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
    """The calibration that makes the scores of held-out examples most likely, each class against the rest. None where the scores say
    nothing of the truth, as those of a model that has not learnt.

    Args:
        logits: (examples, classes).
        labels: (examples,), the true classes.
    """
    from sklearn.linear_model import LogisticRegression

    is_true = (labels[:, None] == np.arange(logits.shape[1])).ravel()
    found = LogisticRegression().fit(logits.reshape(-1, 1).astype(np.float64), is_true)
    slope, offset = float(found.coef_[0, 0]), float(found.intercept_[0])
    return Calibration(slope=slope, offset=offset) if math.isfinite(slope) and slope > 0 else None


def _flatbuffer(about: Description, shape: tuple[int, ...]) -> bytes:
    builder = flatbuffers.Builder(1024)
    build = _Tables(builder)
    height, width, channels = shape[1:]
    picture = build({0: ("byte", RGB if channels == 3 else GRAYSCALE), 1: ("table", build({0: ("uint", width), 1: ("uint", height)}))})
    normalization = build({0: ("floats", [0.0]), 1: ("floats", [1.0])})
    taken = build({
        0: ("text", "image"), 1: ("text", "Raw pixels 0..255."),
        3: ("table", build({0: ("ubyte", IMAGE), 1: ("table", picture), 2: ("table", build({0: ("int", 0), 1: ("int", 255)}))})),
        4: ("tables", [build({0: ("ubyte", NORMALIZATION), 1: ("table", normalization)})]),
        5: ("table", build({0: ("floats", [255.0]), 1: ("floats", [0.0])}))})
    files = [build({0: ("text", LABELS), 1: ("text", "Class names by number."), 2: ("byte", AXIS_LABELS)})]
    units = []
    if about.calibration is not None:
        files.append(build({0: ("text", CALIBRATION), 2: ("byte", AXIS_CALIBRATION)}))
        units.append(build({0: ("ubyte", SCORE_CALIBRATION), 1: ("table", build({0: ("byte", 0), 1: ("float", 0.0)}))}))
    given = build({
        0: ("text", "logits"), 1: ("text", "One per class; their softmax are the probabilities."),
        3: ("table", build({0: ("ubyte", FEATURE), 1: ("table", build({}))})), **({4: ("tables", units)} if units else {}),
        6: ("tables", files)})
    graph = build({2: ("tables", [taken]), 3: ("tables", [given])})
    texts = {0: about.name, 1: about.description, 2: about.version, 4: about.author, 5: about.license, 7: PARSER_VERSION}
    root = build({3: ("tables", [graph]), **{slot: ("text", text) for slot, text in texts.items() if text}})
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


class _Tables:
    """Writes tables of a flatbuffer by the slots of their fields."""

    def __init__(self, builder: Any):
        self.builder = builder

    def __call__(self, fields: Mapping[int, tuple[str, Any]]) -> int:
        """Writes a table: slot to the kind of value and the value. Its place."""
        written = {slot: (kind, self._placed(kind, value)) for slot, (kind, value) in fields.items()}
        self.builder.StartObject(max(fields, default=-1) + 1)
        for slot, (kind, value) in written.items():
            if kind in ("byte", "ubyte", "int", "uint", "float"):
                prepend = {"byte": "Int8", "ubyte": "Uint8", "int": "Int32", "uint": "Uint32", "float": "Float32"}[kind]
                getattr(self.builder, f"Prepend{prepend}Slot")(slot, value, None)
            else:
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return self.builder.EndObject()

    def _placed(self, kind: str, value: Any) -> Any:
        if kind == "text":
            return self.builder.CreateString(value)
        if kind == "floats":
            return self._vector(value, self.builder.PrependFloat32)
        if kind == "tables":
            return self._vector(value, self.builder.PrependUOffsetTRelative)
        return value

    def _vector(self, values: Sequence[Any], prepend: Any) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return self.builder.EndVector()


def _text(root: Any, slot: int) -> str:
    offset = root.Offset(4 + 2 * slot)
    return root.String(offset + root.Pos).decode() if offset else ""
