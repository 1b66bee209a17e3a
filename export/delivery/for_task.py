"""What the code for apps must know of a file beyond its tensors, by what it is for: boxes, masks and faces."""
from __future__ import annotations

from typing import Any

from export.tflite.detection import DECODED, OUTPUTS, Decoding, Kind
from export.tflite.metadata import Description
from export.tflite.signatures import FileSignature

DETECTION, SEGMENTATION, FACES = "object_detection", "semantic_segmentation", "face_recognition"
#: What a file that embeds faces gives.
EMBEDDING = "embedding"
#: What a detector's network gives, by what it tells boxes from, in the order in which the code takes it.
HEADS: dict[Kind, tuple[str, ...]] = {
    "points": ("boxes", "logits"), "anchors": ("boxes", "logits"), "cells": ("boxes", "logits", "objectness"),
    "regions": ("boxes", "logits", "proposals")}
#: What it gives beside those where boxes have key points.
KEY_POINTS = "key_points"
#: Red, green and blue of classes, one after the other; they come again.
COLORS = ("2563EB", "EA580C", "059669", "9333EA", "DC2626", "0891B2", "CA8A04")
#: The class that is not painted.
BACKGROUND = "background"


def fits(signature: FileSignature, about: Description) -> bool:
    """Return whether a file is as the templates of its task want it."""
    if about.task == SEGMENTATION:
        return _takes_one_image(signature, about) and len(signature.outputs) == 1 and len(signature.output.shape) == 4
    if about.task == FACES:
        return _takes_one_image(signature, about) and set(signature.outputs) == {EMBEDDING}
    if about.task != DETECTION:
        return True
    form = form_of(signature)
    known = about.decoding is not None and (form != "network" or set(heads(about.decoding)) == set(signature.outputs))
    return form is not None and known and bool(about.labels) and _takes_one_image(signature, about)


def form_of(signature: FileSignature) -> str | None:
    """Return what a detector's file gives: what the network does, all boxes decoded, or those found; None where it is
    none of these."""
    names = set(signature.outputs)
    if any(set(heads) <= names <= {*heads, KEY_POINTS} for heads in HEADS.values()):
        return "network"
    return next((form for form, known in {"decoded": DECODED, "found": OUTPUTS}.items() if set(known) == names), None)


def heads(decoding: Decoding) -> tuple[str, ...]:
    """Return the network's outputs in the order in which the code takes them; none where it cannot read them."""
    if decoding.kind is None:
        return ()
    return (*HEADS[decoding.kind], *((KEY_POINTS,) if decoding.key_points else ()))


def values(signature: FileSignature, about: Description) -> dict[str, Any]:
    """Return what the templates of a task say beside the tensors."""
    return {"form": form_of(signature), "decoding": about.decoding, "colors": COLORS,
            "heads": heads(about.decoding) if about.decoding is not None else (),
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
