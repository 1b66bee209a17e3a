"""LeNet-5."""
from __future__ import annotations

from etils import epy

from models.registry import register

with epy.lazy_imports():
    import keras

#: Table I of the paper: the S2 maps that each of the sixteen C3 maps looks at.
C3_INPUTS = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
             (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
             (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5))


@register("lenet5", paper="http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf",
          at={"input_shape": (32, 32, 1), "classes": 10})
def lenet5(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """LeNet-5 as in the paper, with a dense layer of logits in the place of its radial basis functions.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, section II.B:
    trainable subsampling, the partial connection table of C3, scaled hyperbolic tangents. At the paper's setting, (32,
    32, 1), the layers C1 to F6 have its 60,000 trainable parameters; the output layer adds 850 for ten classes. 0.34 M
    multiply-adds up to F6.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.

    Raises:
        ValueError: images below 32 x 32 pixels.
    """
    if min(input_shape[:2]) < 32:
        raise ValueError(f"lenet5 needs images of at least 32 x 32 pixels, got {input_shape[0]} x {input_shape[1]}: "
                         "set data.image.size to 32 (with fit: pad, as the paper does for its 28-pixel digits)")
    layers = keras.layers

    def squash(x):
        return 1.7159 * keras.ops.tanh(2 / 3 * x)

    def convolution(x, maps: int, name: str):
        return layers.Conv2D(maps, 5, name=name)(x)

    def subsampling(x, name: str):
        """Return the mean of 2 x 2, times a trainable coefficient, plus a trainable bias, one of each per map."""
        return layers.DepthwiseConv2D(1, name=name)(layers.AveragePooling2D(2)(x))

    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1.275 / 255, offset=-0.1)(pixels)
    x = squash(convolution(x, 6, "c1"))
    x = squash(subsampling(x, "s2"))
    maps = keras.ops.split(x, 6, axis=-1)
    x = layers.Concatenate()([convolution(layers.Concatenate()([maps[i] for i in inputs]), 1, f"c3_{number}")
                              for number, inputs in enumerate(C3_INPUTS)])
    x = squash(subsampling(squash(x), "s4"))
    x = squash(convolution(x, 120, "c5"))
    x = layers.GlobalAveragePooling2D()(x)
    x = squash(layers.Dense(84, name="f6")(x))
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x), name="lenet5")
