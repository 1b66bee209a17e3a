"""What MediaPipe's tasks want to know of a model beside its metadata, in flatbuffers of their own inside them.

The schemas are MediaPipe's image_segmenter_metadata_schema.fbs and object_detector_metadata_schema.fbs.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from etils import epy

from export.signature import Tensor
from export.tflite.detection import LOCATION
from export.tflite.signatures import TensorInfo
from export.tflite.tables import Tables

with epy.lazy_imports():
    import flatbuffers

IDENTIFIER = b"V001"
SEGMENTER, DETECTOR = "SEGMENTER_METADATA", "DETECTOR_METADATA"
SIGMOID, SOFTMAX = 1, 2  # Activation
#: Numbers of a box, and of a key point: where it is not 2 MediaPipe ends the process, though there are none.
SIDES, OF_A_POINT = 4, 2


def of(outputs: Sequence[tuple[TensorInfo, Tensor]], version: str) -> Iterator[tuple[str, bytes]]:
    """Give the names and the flatbuffers that a model's outputs call for.

    Args:
        outputs: tensors of a file, and what they are.
        version: of the parser, at least.
    """
    for info, tensor in outputs:
        if tensor.role == "logits" and len(info.shape) == 4:
            yield SEGMENTER, _segmenter(info.shape[-1], version)
        elif tensor.name == LOCATION:
            yield DETECTOR, _detector(info.shape[1], next(
                one.shape[-1] for one, other in outputs if other.role == "scores"))


def _segmenter(classes: int, version: str) -> bytes:
    """Return what turns the logits of pixels into confidences: the softmax, or of one class alone the sigmoid."""
    builder = flatbuffers.Builder(64)
    root = Tables(builder)({0: ("byte", SOFTMAX if classes > 1 else SIGMOID), 1: ("text", version)})
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _detector(places: int, classes: int) -> bytes:
    """Return how boxes are read that are centre y, centre x, height and width as shares of the image: around anchors
    that are each the whole image, moved by nothing."""
    builder = flatbuffers.Builder(1024)
    build = Tables(builder)
    whole = build({2: ("float", 1.0), 3: ("float", 1.0)})  # centre 0, 0
    fixed = build({0: ("tables", [whole] * places)})
    anchors = build({0: ("table", fixed)})
    numbers = {0: classes, 1: places, 2: SIDES, 3: 0, 4: 0, 5: OF_A_POINT}
    decoding = build({**{slot: ("int", number) for slot, number in numbers.items()},
                      **{slot: ("float", 1.0) for slot in (6, 7, 8, 9)}, 10: ("bool", False), 11: ("bool", False)})
    builder.Finish(build({1: ("table", anchors), 2: ("table", decoding)}), IDENTIFIER)
    return bytes(builder.Output())
