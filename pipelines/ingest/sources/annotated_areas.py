"""What sources of the user's own images with outlined things have in common: the outlines as masks."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from etils import epy

from export.targets import tools
from pipelines.errors import UserError
from pipelines.features.feature import Field
from pipelines.features.image import size_of
from pipelines.features.mask import VOID
from pipelines.figures.segmentation import BACKGROUND
from pipelines.ingest.index import Part
from pipelines.ingest.sources.annotated_images import AnnotatedImages

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf
    from pycocotools import mask as coco_mask

#: Corners of a polygon, at least.
CORNERS = 3


class Area(NamedTuple):
    """The pixels of a thing.

    Args:
        label: number of its class.
        polygons: its outlines, each x, y, x, y, …: in pixels, or as shares of the image.
        runs: lengths of runs of pixels outside and inside, column by column, in place of polygons: a list, or COCO's
            text.
        is_crowd: it is of no class, since things in it are not told apart.
    """

    label: int
    polygons: list[list[float]]
    runs: Any = None
    is_crowd: bool = False


class AnnotatedAreas(AnnotatedImages):
    """Images with boxes, and where a recipe asks for them with masks.

    Args:
        masks: have the outlines drawn as `mask`, the class of every pixel: 0 is what is in none of them, background.
            Where some overlap, the smaller lies on top; crowds are of no class.
    """

    #: Whether outlines are shares of the image.
    in_shares: ClassVar[bool] = False
    masks: bool = False

    def areas(self) -> Mapping[Part, Sequence[Sequence[Area]]]:
        """Return what is outlined in each image of each part, in the order of `annotated`. Raises UserError where
        something has no outline."""
        raise NotImplementedError

    def size_of(self, part: Part, position: int) -> tuple[int, int] | None:
        """Return the height and width in pixels that outlines are drawn in; None for that of the image."""
        return None

    def fingerprint(self) -> str:
        if not self.masks:
            return super().fingerprint()
        self._check()
        return f"{super().fingerprint()} {hashlib.sha256(str(self.areas()).encode()).hexdigest()}"

    def fields(self) -> dict[str, Field]:
        fields = super().fields()
        if self.masks:
            self._check()
            fields["mask"] = Field(kind="array", names=[BACKGROUND, *self.names()], shape=(None, None))
        return fields

    def without(self, field: str) -> str | None:
        if field != "mask":
            return None
        return (f"data.source.{self.entry_name}: its outlines are boxes unless masks are asked for: add masks: true, "
                f"{{{self.entry_name}: {{path: …, masks: true}}}}")

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        examples = super().examples(part, positions)
        if not self.masks:
            return examples
        areas = self.areas()[part]
        chosen = np.arange(len(areas)) if positions is None else np.array(positions)

        def drawn_on(position: Any, content: Any) -> np.ndarray:
            size = self.size_of(part, int(position)) or size_of(bytes(content)) or (0, 0)
            return drawn(areas[int(position)], size, self.in_shares)

        def example(position: tf.Tensor, one: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            mask = tf.numpy_function(drawn_on, [position, one["image"]], tf.uint8, stateful=False)
            return {**one, "mask": tf.ensure_shape(mask, (None, None))}

        numbered = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(chosen), examples)
        return numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def _check(self) -> None:
        if absent := tools.missing("detection"):
            raise UserError(f"data.source.{self.entry_name}: outlines are drawn by pycocotools: {absent}")
        if len(self.names()) >= VOID:
            raise UserError(f"data.source.{self.entry_name}: it has {len(self.names())} classes, and a mask holds "
                            f"{VOID - 1} at most beside the background")


def drawn(areas: Sequence[Area], size: tuple[int, int], in_shares: bool = False) -> np.ndarray:
    """Return the class of every pixel, uint8 (height, width): 0 outside all areas, else 1 more than the label.

    Pixels are in or out as pycocotools has them.

    Args:
        size: height and width in pixels.
        in_shares: outlines are shares of the image.
    """
    mask = np.zeros(size, np.uint8)
    by = np.array(size[::-1] if in_shares else (1, 1), float)
    encoded = [(_encoded(area, size, by), area) for area in areas]
    for runs, area in sorted(encoded, key=lambda one: -int(coco_mask.area(one[0]))):
        mask[coco_mask.decode(runs) > 0] = VOID if area.is_crowd else area.label + 1
    return mask


def _encoded(area: Area, size: tuple[int, int], by: np.ndarray) -> Any:
    """Return the runs of an area as pycocotools packs them, its outlines' x and y multiplied by two numbers."""
    if area.runs is None:
        outlines = [(np.reshape(polygon, (-1, 2)) * by).ravel().tolist() for polygon in area.polygons]
        return coco_mask.merge(coco_mask.frPyObjects(outlines, *size))
    if isinstance(area.runs, str):
        return {"size": list(size), "counts": area.runs.encode()}
    return coco_mask.frPyObjects({"size": list(size), "counts": area.runs}, *size)
