"""What a discriminator sees of a batch: how far its images differ."""
from __future__ import annotations

import functools
from typing import Any

from etils import epy

from models.registry import own_layer

with epy.lazy_imports():
    import keras

#: Images that are compared, and a small number below a root, as the authors have them.
GROUP, EPSILON = 4, 1e-8


def spread(x: Any, group: int = GROUP) -> Any:
    """Return how far the images of a group differ, the mean of all deviations, for each image, (batch,).

    A group's images stand apart by as many as there are groups; where they do not fill the last row of the batch, its
    first images stand in.

    Args:
        x: (batch, height, width, channels).
        group: images that are compared, at most.
    """
    count = keras.ops.shape(x)[0]
    members = keras.ops.minimum(group, count)
    groups = (count + members - 1) // members
    rows = keras.ops.take(x, keras.ops.mod(keras.ops.arange(members * groups), count), axis=0)
    rows = keras.ops.reshape(rows, (members, groups, *x.shape[1:]))
    away = rows - keras.ops.mean(rows, axis=0, keepdims=True)
    deviations = keras.ops.sqrt(keras.ops.mean(away * away, axis=0) + EPSILON)
    of_group = keras.ops.mean(deviations, axis=(1, 2, 3))
    return keras.ops.take(of_group, keras.ops.mod(keras.ops.arange(count), groups), axis=0)


@own_layer
@functools.cache
def spread_class() -> type:
    """Return the layer that compares images, made once, on demand: once it is, files with it can be loaded."""
    @keras.saving.register_keras_serializable("litepress")
    class MinibatchDeviation(keras.layers.Layer):
        """Maps, and one more that says how far the images of a group differ (Karras et al., "Progressive Growing of
        GANs", 2018, section 3)."""

        def call(self, x: Any) -> Any:
            more = keras.ops.ones_like(x[..., :1]) * spread(x)[:, None, None, None]
            return keras.ops.concatenate([x, more], axis=-1)

        def compute_output_shape(self, shape: Any) -> tuple[int | None, ...]:
            return (*shape[:-1], shape[-1] + 1)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    return MinibatchDeviation
