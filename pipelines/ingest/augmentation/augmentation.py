"""What an augmentation is, and what augmentations draw."""
from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from etils import epy

from export.signature import Role
from pipelines.entries import Entry

with epy.lazy_imports():
    import tensorflow as tf

#: A batch of examples by feature name, inputs and targets alike, float32: images (batch, height, width, channels),
#: 0..255; masks one-hot (batch, height, width, classes); labels one-hot (batch, classes).
Batch = dict[str, "tf.Tensor"]
Roles = Mapping[str, Role]


class Augmentation(Entry):
    """A random change of training examples."""

    #: Whether a target may become a mixture of several classes.
    mixes_targets: ClassVar[bool] = False
    #: Whether boxes still fit their image afterwards.
    fits_boxes: ClassVar[bool] = True

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        """Return the changed batch.

        Args:
            batch: inputs and prepared targets together.
            seed: two int32 numbers.
            roles: what each entry of the batch is.
        """
        raise NotImplementedError

    def misfit(self, roles: Roles) -> str | None:
        """Return why examples of these roles cannot be changed so; None where they can."""
        return refuses_boxes(self, roles) or needs_image(self, roles)


class ImageAugmentation(Augmentation):
    """A change of each image's values that leaves everything else as it is."""

    def change(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return changed images (batch, height, width, channels), float32 0..255."""
        raise NotImplementedError

    def apply(self, batch: Batch, seed: tf.Tensor, roles: Roles) -> Batch:
        return {name: self.change(values, seed) if roles[name] == "image" else values for name, values in batch.items()}


def first_image(batch: Batch, roles: Roles) -> tf.Tensor:
    """Return the images that say how large a step of a pixel is."""
    return next(values for name, values in batch.items() if roles[name] == "image")


def uniform(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return as many numbers from -1 to 1."""
    return tf.random.stateless_uniform([count], seed, -1.0, 1.0)


def beta(count: tf.Tensor, alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Return as many draws from Beta(alpha, alpha), each as the share of one Gamma draw in the sum of two."""
    first, second = (tf.random.stateless_gamma([count], seed + offset, alpha=alpha) + 1e-20 for offset in (0, 1))
    return first / (first + second)


def refuses_boxes(augmentation: Augmentation, roles: Roles) -> str | None:
    """Return what to say where examples have boxes, which do not fit their image afterwards."""
    if augmentation.fits_boxes or "boxes" not in roles.values():
        return None
    return f"{augmentation.entry_name} does not change boxes so far, and an example has some; leave it out"


def needs_image(augmentation: Augmentation, roles: Roles) -> str | None:
    """Return what to say where no example has an image."""
    return None if "image" in roles.values() else f"{augmentation.entry_name} changes images, and an example has none"
