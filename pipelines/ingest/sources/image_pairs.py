"""Sources of images and of what is to be made of them."""
from __future__ import annotations

from pipelines.features.feature import Field
from pipelines.ingest.sources.source import Source

#: What every example has.
IMAGE, TARGET = "image", "target"


class ImagePairs(Source):
    """Two images an example.

    Args:
        paired: whether the second is what is to be made of the first; else it is another one of its kind.
    """

    paired: bool = True

    @property
    def tests_pairs(self) -> bool:
        """Return whether test examples are pairs: what is made of their images can be compared with something."""
        return self.paired

    def fields(self) -> dict[str, Field]:
        return {IMAGE: Field(kind="bytes"), TARGET: Field(kind="bytes")}
