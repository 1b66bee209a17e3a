"""Images that a model learns to make of other images."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.features.feature import Feature, Learnt
from pipelines.features.image import Image
from pipelines.features.picture import Picture


class TargetImage(Picture, name="target_image", shorthand="size"):
    """The image that is to be made of another: of its size and fit, and of its channels where these are not given.

    It takes the settings of an image.
    """

    counts_faults = True

    def beside(self, others: Mapping[str, Feature]) -> Feature:
        """Return the image brought to the size of the other, in the same way.

        Raises:
            PydanticCustomError: its own settings say something else.
        """
        others = {name: one for name, one in others.items() if isinstance(one, Image) and one is not self}
        if len(others) != 1:
            return self
        name, other = next(iter(others.items()))
        assert isinstance(other, Image)
        for setting in ("size", "fit"):
            if setting in self.model_fields_set and getattr(self, setting) != getattr(other, setting):
                raise PydanticCustomError("combination", "{setting} is not that of data.{other}: images are made in "
                                          "the size of those that they are made of, pixel above pixel. Leave it out",
                                          {"setting": setting, "other": name, "at": ["data", "target", setting]})
        taken: dict[str, Any] = {"size": other.size, "fit": other.fit}
        if "channels" not in self.model_fields_set:
            taken["channels"] = other.channels
        return self.model_copy(update=taken)

    def fault(self, value: Any, learnt: Learnt) -> str | None:
        reason = super().fault(value, learnt)
        return f"has a target that is {reason}" if reason else None
