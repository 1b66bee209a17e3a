"""Images of another source, and the same behind a filter: pairs that are as good as the filter says."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from etils import epy
from pydantic import Field as Setting

from pipelines.features import image_decoding, image_file
from pipelines.ingest.sources.image_pairs import IMAGE
from pipelines.ingest.sources.made_pairs import MadePairs

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

#: Share of the steepest slope that there can be, from black to white, from which on a pixel is an edge.
EDGE = 0.25
#: Sobel's slope at such a step: 1 + 2 + 1 pixels of 255.
STEEPEST = 4 * 255.0
#: The rows of the blur: a binomial filter, once across and once down.
BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)
#: Levels that are left of each channel.
LEVELS = 4


class Filtered(MadePairs, name="filtered", shorthand="of"):
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

    filter: Literal["edges", "blur", "levels"] = "edges"
    to: Literal["image", "filtered"] = Setting("image")

    def fingerprint(self) -> str:
        return f"filtered {self.filter} {self.to} {self.paired} {self.source.entry_name} {self.source.fingerprint()}"

    def pair(self, one: Mapping[str, Any]) -> tuple[Any, Any]:
        filtered = self._filtered(one[IMAGE])
        return (filtered, one[IMAGE]) if self.to == "image" else (one[IMAGE], filtered)

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
