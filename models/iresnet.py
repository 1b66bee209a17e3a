"""The residual networks that ArcFace trains: from an aligned face to an embedding."""
from __future__ import annotations

from typing import Any, Literal

from etils import epy

from models import blocks, registry
from models.embedding import FACE, EmbeddingSize, embedding
from models.registry import register

with epy.lazy_imports():
    import keras

ARCFACE = "https://arxiv.org/abs/1801.07698"
#: Blocks of the four stages, by depth.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


@register("iresnet18", task="face_recognition", paper=ARCFACE, at=FACE, depth=18)
@register("iresnet34", task="face_recognition", paper=ARCFACE, at=FACE, depth=34)
@register("iresnet50", task="face_recognition", paper=ARCFACE, at=FACE, depth=50)
@register("iresnet100", task="face_recognition", paper=ARCFACE, at=FACE, depth=100)
def iresnet(input_shape: tuple[int, int, int], *, depth: Literal[18, 34, 50, 100], size: EmbeddingSize = 512,
            width: blocks.Filters = 64, dropout: blocks.Dropout = 0.0, weight_decay: blocks.WeightDecay = 0.0,
            batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """The improved residual networks for faces: no pooling, and batch normalization before each block.

    Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, section 3.1, after He et al.
    2016. At the paper's setting, (112, 112, 3) and 512 numbers: iresnet18 24,025,088 trained parameters and 2.6 G
    multiply-adds, iresnet34 34,138,816 and 4.5 G, iresnet50 43,590,336 and 6.3 G, iresnet100 65,155,648 and 12.1 G.

    Args:
        input_shape: (height, width, channels) in pixels; a sixteenth of it is the last map.
        size: numbers of an embedding.
        width: filters of the first stage; each later one has twice as many.
        dropout: rate before the last dense layer.
        weight_decay: L2 penalty on convolution kernels.
        batch_norm_momentum: of the moving statistics.
    """
    layers = keras.layers
    pixels = blocks.image_input(input_shape, 32, f"iresnet{depth}")

    def normalized(x: Any, scale: bool = True) -> Any:
        return layers.BatchNormalization(momentum=batch_norm_momentum, epsilon=1e-5, scale=scale)(x)

    def convolution(x: Any, filters: int, kernel: int = 3, strides: int = 1) -> Any:
        if strides > 1 and kernel > 1:  # as much on either side: where a kernel begins does not depend on the size
            x = layers.ZeroPadding2D(kernel // 2)(x)
        regularizer = keras.regularizers.L2(weight_decay) if weight_decay else None
        return layers.Conv2D(filters, kernel, strides, padding="valid" if strides > 1 else "same", use_bias=False,
                             kernel_initializer="he_normal", kernel_regularizer=regularizer)(x)

    def ir_block(x: Any, filters: int, strides: int) -> Any:
        y = normalized(convolution(normalized(x), filters))
        y = convolution(layers.PReLU(shared_axes=[1, 2])(y), filters, strides=strides)
        shortcut = normalized(convolution(x, filters, 1, strides)) if strides > 1 else x
        return layers.Add()([shortcut, normalized(y)])

    x = normalized(convolution(blocks.scaled(pixels), width))
    x = layers.PReLU(shared_axes=[1, 2])(x)
    for stage, count in enumerate(BLOCKS[depth]):
        for block in range(count):
            x = ir_block(x, width * 2**stage, 2 if block == 0 else 1)
    x = layers.Flatten()(normalized(x))
    if dropout:
        x = layers.Dropout(dropout)(x)
    x = normalized(layers.Dense(size)(x), scale=False)
    return keras.Model(pixels, embedding(x), name=f"iresnet{depth}")


@register("resnet50_embedder", task="face_recognition", paper="https://arxiv.org/abs/1512.03385", at=FACE)
def resnet50_embedder(input_shape: tuple[int, int, int], *, size: EmbeddingSize = 512, dropout: blocks.Dropout = 0.0,
                      batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """ResNet-50 without its classifier: the mean of its last map, a dense layer, and batch normalization.

    He et al., "Deep Residual Learning for Image Recognition", 2016. At (112, 112, 3) and 512 numbers: 24,638,336
    parameters and 1.0 G multiply-adds.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        size: numbers of an embedding.
        dropout: rate before the dense layer.
        batch_norm_momentum: of the last normalization's moving statistics.
    """
    layers = keras.layers
    backbone = registry.build("resnet50", include_top=False, input_shape=input_shape, classes=1)
    x = layers.GlobalAveragePooling2D()(backbone.output)
    if dropout:
        x = layers.Dropout(dropout)(x)
    x = layers.Dense(size, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=batch_norm_momentum)(x)
    return keras.Model(backbone.input, embedding(x), name="resnet50_embedder")
