"""Finds faces in pictures, turns them upright and embeds them, with the two models of this bundle.

    pip install ai-edge-litert numpy pillow
    python faces.py PICTURE [PICTURE]

It prints the faces of each picture, and the cosines of their embeddings: the larger, the surer they are of one person.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
from ai_edge_litert.interpreter import Interpreter

#: Of this bundle, two folders above this file.
FOLDER = Path(__file__).resolve().parents[2]


class Face(NamedTuple):
    """A face that was found.

    Args:
        score: 0 to 1.
        box: ymin, xmin, ymax, xmax as shares of the picture.
        points: key points by name, y and x as shares of the picture.
        upright: the face as the model of embeddings sees it.
        embedding: of length 1.
    """

    score: float
    box: np.ndarray
    points: dict[str, tuple[float, float]]
    upright: PIL.Image.Image
    embedding: np.ndarray


class Faces:
    """The two models.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path = FOLDER):
        self.about = json.loads((folder / "pair.json").read_text())
        self.decoding = self.about["detector"]["decoding"]
        self.detector = Model(folder / self.about["detector"]["file"])
        self.embedder = Model(folder / self.about["embedder"]["file"])

    def find(self, picture: PIL.Image.Image) -> list[Face]:
        """Return the faces of a picture, the surest first."""
        picture = PIL.ImageOps.exif_transpose(picture).convert("RGB")
        boxes, scores, points = self._decoded(self.detector.run(picture))
        names, faces = self.decoding["point_names"], []
        for number in self._best(boxes, scores):
            own = dict(zip(names, map(tuple, points[number].tolist()), strict=True))
            upright = self._upright(picture, boxes[number], own)
            embedding = np.ravel(self.embedder.run(upright)["embedding"])
            faces.append(Face(float(scores[number]), boxes[number], own, upright,
                              embedding / max(float(np.linalg.norm(embedding)), 1e-12)))
        return faces

    def _decoded(self, outputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes (places, 4) and key points (places, points, 2) as shares, and scores (places,)."""
        decoding, size = self.decoding, np.array(self.decoding["size"], float)
        raw, scores = outputs["boxes"].astype(float), _sigmoid(outputs["logits"].astype(float)).max(axis=1)
        centres, steps, sides = _grid(decoding["levels"])
        points = np.zeros((len(raw), 0, 2))
        if decoding["kind"] == "points":
            bins = np.arange(decoding["bins"])
            distances = (_softmax(raw.reshape(len(raw), 4, -1)) @ bins if len(bins) > 1 else raw) * steps
            corners = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
        else:
            shifts, logarithms = decoding["variances"]
            middles = centres + raw[:, :2] * shifts * sides
            halves = sides * np.minimum(np.exp(raw[:, 2:] * logarithms), decoding["longest"]) / 2
            corners = np.concatenate([middles - halves, middles + halves], axis=1)
            if decoding["key_points"]:
                given = outputs["key_points"].astype(float).reshape(len(raw), -1, 2)
                points = centres[:, None] + given * shifts * sides[:, None]
        return np.clip(corners / np.tile(size, 2), 0, 1), scores, points / size

    def _best(self, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
        """Return the places of the boxes that no better one overlaps, the best first."""
        kept: list[int] = []
        for number in np.argsort(-scores, kind="stable"):
            if scores[number] < self.decoding["threshold"] or len(kept) == self.decoding["most"]:
                break
            if all(_overlap(boxes[number], boxes[other]) <= self.decoding["iou"] for other in kept):
                kept.append(int(number))
        return kept

    def _upright(self, picture: PIL.Image.Image, box: np.ndarray, points: dict[str, Any]) -> PIL.Image.Image:
        """Return a face as the model of embeddings wants it: its key points where that has learnt them, by rotation,
        one scale and shift (Umeyama, 1991); or its box, where they are not known."""
        places = self.about["embedder"]["places"]
        shared = [name for name in places if name in points]
        if len(shared) < 2:
            top, left, bottom, right = (box * np.tile([picture.height, picture.width], 2)).tolist()
            return picture.crop((int(left), int(top), max(int(left) + 1, round(right)),
                                 max(int(top) + 1, round(bottom))))
        size = np.array(self.embedder.size)
        given, wanted = (np.array([of[name] for name in shared]) * scale for of, scale in (
            (points, [picture.height, picture.width]), (places, size)))
        given, wanted = given[:, 1] + 1j * given[:, 0], wanted[:, 1] + 1j * wanted[:, 0]
        from_middle = given - given.mean()
        factor = np.conj(from_middle) @ (wanted - wanted.mean()) / max((np.abs(from_middle)**2).sum(), 1e-12)
        shift = wanted.mean() - factor * given.mean()
        smaller = min(max(1, int(1 / max(abs(factor), 1e-6))), picture.width, picture.height)
        back, start = 1 / factor / smaller, -shift / factor / smaller
        return picture.reduce(smaller).transform(
            (int(size[1]), int(size[0])), PIL.Image.Transform.AFFINE,
            (back.real, -back.imag, start.real, back.imag, back.real, start.imag), PIL.Image.Resampling.BILINEAR)


class Model:
    """A TFLite file that takes one picture.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.runner = Interpreter(str(path)).get_signature_runner()
        (self.name, self.input), = self.runner.get_input_details().items()
        self.outputs = self.runner.get_output_details()
        height, width = self.input["shape"][1:3].tolist()
        self.size: tuple[int, int] = height, width

    def run(self, picture: PIL.Image.Image) -> dict[str, np.ndarray]:
        """Return what the model gives of a picture of any size, as real numbers, without the batch."""
        fitted = picture.convert("RGB" if self.input["shape"][3] == 3 else "L")
        if fitted.size != self.size[::-1]:
            fitted = fitted.resize((self.size[1], self.size[0]), PIL.Image.Resampling.BILINEAR)
        pixels = np.asarray(fitted).reshape(self.input["shape"])
        scale, zero = self.input["quantization"]
        if self.input["dtype"] == np.int8 or (scale and abs(scale - 1) > 1e-6):
            pixels = np.clip(np.round(pixels / scale) + zero, *_range(self.input["dtype"]))
        given = self.runner(**{self.name: pixels.astype(self.input["dtype"])})
        return {name: self._real(value[0], *self.outputs[name]["quantization"]) for name, value in given.items()}

    @staticmethod
    def _real(value: np.ndarray, scale: float, zero: int) -> np.ndarray:
        return (value.astype("float32") - zero) * scale if scale else value


def _grid(levels: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centre of each place, y and x, its stride, and the sides of its anchor, in pixels."""
    centres, steps, sides = [], [], []
    for level in levels:
        y, x = np.meshgrid(np.arange(level["rows"]) + 0.5, np.arange(level["columns"]) + 0.5, indexing="ij")
        shapes = np.array(level["shapes"] or [[level["stride"]] * 2], float)
        own = np.stack([y.ravel(), x.ravel()], axis=1) * level["stride"]
        centres.append(np.repeat(own, len(shapes), axis=0))
        sides.append(np.tile(shapes, (len(own), 1)))
        steps.append(np.full((len(own) * len(shapes), 1), level["stride"], float))
    return np.concatenate(centres), np.concatenate(steps), np.concatenate(sides)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection of two boxes over their union."""
    shared = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    return float(shared / max(union, 1e-12))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _range(dtype: Any) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return limits.min, limits.max


def main(files: list[str]) -> None:
    """Print the faces of pictures, and the cosine of each two that are the surest of theirs."""
    faces, best = Faces(), {}
    for file in files:
        found = faces.find(PIL.Image.open(file))
        for face in found:
            print(f"{file}  {face.score:.0%} at [{' '.join(f'{side:.3f}' for side in face.box)}]")
        if found:
            best[file] = found[0]
        else:
            print(f"{file}  no face")
    for number, (file, face) in enumerate(best.items()):
        for other in list(best)[number + 1:]:
            print(f"{file}  {other}  cosine {face.embedding @ best[other].embedding:.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("give a picture: python faces.py PICTURE [PICTURE]")
    main(sys.argv[1:])
