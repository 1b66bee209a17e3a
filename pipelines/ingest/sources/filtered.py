"""Images of another source, and the same behind a filter: pairs that are as good as the filter says."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from etils import epy
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import UserError
from pipelines.features import image_decoding, image_file
from pipelines.features.feature import Field
from pipelines.ingest.index import Part
from pipelines.ingest.sources.image_pairs import IMAGE, TARGET, ImagePairs
from pipelines.ingest.sources.source import Source

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

SETTING = "data.source.filtered"
#: Share of the steepest slope that there can be, from black to white, from which on a pixel is an edge.
EDGE = 0.25
#: Sobel's slope at such a step: 1 + 2 + 1 pixels of 255.
STEEPEST = 4 * 255.0
#: The rows of the blur: a binomial filter, once across and once down.
BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)
#: Levels that are left of each channel.
LEVELS = 4


class Filtered(ImagePairs, name="filtered", shorthand="of"):
    """The images of another source beside what a filter makes of them, in pairs or not.

    The filters: `edges`, white where the slope of the brightness, Sobel's across and down, is at least a quarter of a
    step's from black to white; `blur`, a binomial filter of 5 x 5 pixels; `levels`, which leaves four of each channel.

    Args:
        of: the other source, as a recipe writes it; its examples have an image.
        filter: edges, blur or levels.
        to: what is to be made of the other: image, of what the filter leaves of it, or filtered.
        paired: false for training without pairs: training examples then have two different images each, and test
            examples, by which models are measured, are pairs all the same.
    """

    of: str | dict[str, Any]
    filter: Literal["edges", "blur", "levels"] = "edges"
    to: Literal["image", "filtered"] = Setting("image")

    @field_validator("of")
    @classmethod
    def must_be_a_source(cls, value: Any) -> Any:
        if isinstance(Source.read(value), ImagePairs):
            raise PydanticCustomError("source", "give a source of single images")
        return value

    @property
    def source(self) -> Source:
        """Return the source of the images."""
        return Source.read(self.of)  # type: ignore[return-value]

    @property
    def tests_pairs(self) -> bool:
        return True

    def fingerprint(self) -> str:
        return f"filtered {self.filter} {self.to} {self.paired} {self.source.entry_name} {self.source.fingerprint()}"

    def prepare(self) -> None:
        self.source.prepare()

    def ready(self) -> bool:
        return self.source.ready()

    def fields(self) -> dict[str, Field]:
        known = self.source.fields()
        if IMAGE not in known or known[IMAGE].kind != "bytes":
            raise UserError(f"{SETTING}.of: {self.source.entry_name} has no image files; its examples have "
                            f"{', '.join(known)}. Give a source of images")
        return super().fields()

    def parts(self) -> list[Part]:
        parts = self.source.parts()
        if not self.paired and "test" not in parts:
            raise UserError(f"{SETTING}.paired: false leaves no pairs in the training part, and "
                            f"{self.source.entry_name} has no other to test on; give a source with a test part")
        return parts

    def size(self, part: Part) -> int | None:
        return self.source.size(part)

    def examples(self, part: Part, positions: Sequence[int] | None = None) -> tf.data.Dataset:
        if self.paired or part != "train":
            return self._images(part, positions).map(self._pair, num_parallel_calls=tf.data.AUTOTUNE)
        count = self.source.size(part) or sum(1 for _ in self.source.examples(part))
        chosen = np.arange(count) if positions is None else np.asarray(positions, int)
        others = (chosen + count // 2) % count  # in two runs, each ascending
        turn = int((others >= chosen).sum()) if count > 1 else len(chosen)
        runs = [self._images(part, run.tolist()) for run in (others[:turn], others[turn:]) if len(run)]
        beside = runs[0] if len(runs) == 1 else runs[0].concatenate(runs[1])
        both = tf.data.Dataset.zip(self._images(part, positions), beside)
        return both.map(self._unpaired, num_parallel_calls=tf.data.AUTOTUNE)

    def _images(self, part: Part, positions: Sequence[int] | None) -> tf.data.Dataset:
        return self.source.examples(part, positions).map(lambda one: {IMAGE: one[IMAGE], "id": one["id"]})

    def _pair(self, one: dict[str, Any]) -> dict[str, Any]:
        filtered = self._filtered(one[IMAGE])
        pair = (filtered, one[IMAGE]) if self.to == "image" else (one[IMAGE], filtered)
        return {IMAGE: pair[0], TARGET: pair[1], "id": one["id"]}

    def _unpaired(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        return {**self._pair(one), TARGET: self._pair(other)[TARGET]}

    def _filtered(self, content: Any) -> Any:
        """Return a file's image behind the filter as PNG; of a file that cannot be read itself, which says why."""
        return tf.numpy_function(self._file, [content], tf.string, stateful=False)

    def _file(self, content: Any) -> bytes:
        encoded = bytes(content)
        try:
            known = bool(image_decoding.is_known(tf.constant(encoded)))
            image = image_decoding.traced(tf.constant(encoded), 0) if known else image_file.pixels(encoded)
        except (ValueError, tf.errors.OpError):
            return encoded
        filtered = FILTERS[self.filter](np.asarray(image)[..., :3].astype(np.float32))
        return tf.io.encode_png(np.clip(np.round(filtered), 0, 255).astype(np.uint8)).numpy()  # type: ignore[no-any-return]


def edges(image: np.ndarray) -> np.ndarray:
    """Return the edges of an image, float32 (height, width, 1 to 3 channels), white on black, (height, width, 1)."""
    brightness = np.pad(image.mean(axis=-1), 1, mode="reflect" if min(image.shape[:2]) > 1 else "edge")
    across = brightness[:, 2:] - brightness[:, :-2]
    down = brightness[2:] - brightness[:-2]
    slopes = (across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:])
    return np.where(np.hypot(*slopes) >= EDGE * STEEPEST, 255.0, 0.0)[..., None]


def blur(image: np.ndarray) -> np.ndarray:
    """Return a blurred image; beyond its border it goes on as at it."""
    weights = np.array(BLUR) / sum(BLUR)
    for axis in (0, 1):
        border = [(2, 2) if one == axis else (0, 0) for one in range(3)]
        padded = np.pad(image, border, mode="edge")
        image = sum(weight * np.take(padded, range(start, start + image.shape[axis]), axis)
                    for start, weight in enumerate(weights))
    return image


def levels(image: np.ndarray) -> np.ndarray:
    """Return an image with four levels of each channel, evenly from black to white."""
    step = 255.0 / (LEVELS - 1)
    return np.round(image / step) * step


FILTERS = {"edges": edges, "blur": blur, "levels": levels}
