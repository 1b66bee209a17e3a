"""What the code for apps must know of a file beyond its tensors, by what it is for: boxes and masks."""
from __future__ import annotations

from typing import Any

from export.tflite.detection import DECODED, OUTPUTS
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

DETECTION, SEGMENTATION = "object_detection", "semantic_segmentation"
#: What a detector's network gives.
NETWORK = {"boxes", "logits"}
#: Red, green and blue of classes, one after the other; they come again.
COLORS = ("2563EB", "EA580C", "059669", "9333EA", "DC2626", "0891B2", "CA8A04")
#: The class that is not painted.
BACKGROUND = "background"


def fits(signature: FileSignature, about: Description) -> bool:
    """Return whether a file is as the templates of its task want it."""
    if about.task == SEGMENTATION:
        return _takes_one_image(signature, about) and len(signature.outputs) == 1 and len(signature.output.shape) == 4
    if about.task != DETECTION:
        return True
    form = form_of(signature)
    known = about.decoding is not None and (form != "network" or bool(about.decoding.levels))
    return form is not None and known and bool(about.labels) and _takes_one_image(signature, about)


def form_of(signature: FileSignature) -> str | None:
    """Return what a detector's file gives: what the network does, all boxes decoded, or those found; None where it is
    none of these."""
    forms = {"network": NETWORK, "decoded": set(DECODED), "found": set(OUTPUTS)}
    return next((form for form, names in forms.items() if names == set(signature.outputs)), None)


def values(signature: FileSignature, about: Description) -> dict[str, Any]:
    """Return what the templates of a task say beside the tensors."""
    return {"form": form_of(signature), "decoding": about.decoding, "colors": COLORS,
            "class_colors": class_colors(about.labels)}


def class_colors(labels: list[str]) -> list[str | None]:
    """Return the colour of each class of a mask: none of the background, and of a single class the second of two."""
    names = class_names(labels)
    painted = [name for name in names if name != BACKGROUND]
    return [None if name == BACKGROUND else COLORS[painted.index(name) % len(COLORS)] for name in names]


def class_names(labels: list[str]) -> list[str]:
    """Return the names of a mask's numbers: those of a single class are the background and the class."""
    return labels if len(labels) > 1 else [BACKGROUND, *labels]


def _takes_one_image(signature: FileSignature, about: Description) -> bool:
    return len(signature.inputs) == 1 and about.tensor(signature.input).role == "image" and len(
        signature.input.shape) == 4
