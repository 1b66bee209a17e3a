"""The smallest network of dense outputs, for benchmarks/memory.py: what is to be measured is what stands around it."""
from __future__ import annotations

from etils import epy

from models.registry import register

with epy.lazy_imports():
    import keras

CLASSES, SIDE = 20, 256


@register("dense_net", task="semantic_segmentation", paper="none",
          at={"input_shape": (SIDE, SIDE, 1), "classes": CLASSES})
def dense_net(input_shape, classes):
    """One convolution."""
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Conv2D(classes, 1, name="logits")(x))
