"""Residual networks."""
from __future__ import annotations

from typing import Literal

from etils import epy

from models import blocks
from models.registry import register

with epy.lazy_imports():
    import keras

RESNET, RESNET_V2 = "https://arxiv.org/abs/1512.03385", "https://arxiv.org/abs/1603.05027"
CIFAR = {"input_shape": (32, 32, 3), "classes": 10}


@register("resnet8", paper="https://arxiv.org/abs/2106.07597", at=CIFAR)
def resnet8(input_shape: tuple[int, int, int], classes: int, *, width: blocks.Filters = 16,
            weight_decay: blocks.WeightDecay = 1e-4,
            batch_norm_momentum: blocks.Momentum = 0.9) -> keras.Model:
    """ResNet-8, the image model of the MLPerf Tiny benchmark.

    Banbury et al., "MLPerf Tiny Benchmark", 2021: a residual network after He et al. 2016 with one basic block per
    stage. 78,666 parameters and 12.5 M multiply-adds at the paper's setting, (32, 32, 3) and 10 classes. The pooling
    before the classifier is global, which for 32 pixels is the benchmark's 8 x 8.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits.
        width: filters of the first stage; the second and third have twice and four times as many.
        weight_decay: L2 penalty on convolution kernels.
        batch_norm_momentum: of the moving statistics; 0.9 suits trainings of a few thousand steps.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1):
        return layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal",
                             kernel_regularizer=keras.regularizers.L2(weight_decay))(x)

    def normalize(x):
        return layers.BatchNormalization(momentum=batch_norm_momentum)(x)

    def basic_block(x, filters: int, strides: int):
        shortcut = x
        x = layers.ReLU()(normalize(convolution(x, filters, 3, strides)))
        x = normalize(convolution(x, filters, 3))
        if strides != 1:
            shortcut = convolution(shortcut, filters, 1, strides)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    pixels = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.ReLU()(normalize(convolution(x, width, 3)))
    for filters, strides in ((width, 1), (2 * width, 2), (4 * width, 2)):
        x = basic_block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(classes, name="logits")(x), name="resnet8")


@register("resnet20", paper=RESNET, at=CIFAR, depth=20)
@register("resnet56", paper=RESNET, at=CIFAR, depth=56)
@register("resnet110", paper=RESNET, at=CIFAR, depth=110)
def resnet_cifar(input_shape: tuple[int, int, int], classes: int, *, depth: Literal[20, 56, 110],
                 width: blocks.Filters = 16, weight_decay: blocks.WeightDecay = 1e-4,
                 batch_norm_momentum: blocks.Momentum = 0.9, dropout: blocks.Dropout = 0.0,
                 spatial_dropout: blocks.Dropout = 0.0, stochastic_depth: blocks.Dropout = 0.0) -> keras.Model:
    """The residual networks for CIFAR-10: three stages of basic blocks, shortcuts without parameters.

    He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2, with shortcut option A. At the paper's
    setting, (32, 32, 3) and 10 classes: resnet20 269,722 trainable parameters and 41 M multiply-adds, resnet56 853,018
    and 126 M, resnet110 1,727,962 and 253 M.

    Args:
        input_shape: (height, width, channels) in pixels.
        classes: number of logits.
        width: filters of the first stage; the second and third have twice and four times as many.
        weight_decay: L2 penalty on convolution kernels.
        batch_norm_momentum: of the moving statistics.
        dropout: rate before the classifier.
        spatial_dropout: rate at which whole channels are left out between the two convolutions of a block (Tompson et
            al. 2015).
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
    """
    layers = keras.layers

    def convolution(x, filters: int, strides: int = 1, activation: str | None = "relu"):
        return blocks.convolution_norm(x, filters, 3, strides, activation=activation, momentum=batch_norm_momentum,
                                       weight_decay=weight_decay)

    def basic_block(x, filters: int, strides: int, drop: float):
        shortcut = x
        if strides != 1:
            missing = filters - x.shape[-1]
            sides = (missing // 2, missing - missing // 2)
            shortcut = keras.ops.pad(x[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), sides))
        x = blocks.spatial_dropout(convolution(x, filters, strides), spatial_dropout)
        x = blocks.stochastic_depth(convolution(x, filters, activation=None), drop)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    pixels = keras.Input(input_shape, name="image")
    x = convolution(blocks.scaled(pixels), width)
    per_stage = (depth - 2) // 6
    for stage in range(3):
        for block in range(per_stage):
            filters = width * 2**stage
            strides = 2 if stage > 0 and block == 0 else 1
            done = (stage * per_stage + block + 1) / (3 * per_stage)
            x = basic_block(x, filters, strides, stochastic_depth * done)
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name=f"resnet{depth}")


@register("resnet18", paper=RESNET, depth=18)
@register("resnet34", paper=RESNET, depth=34)
def resnet_basic(input_shape: tuple[int, int, int], classes: int, *, depth: Literal[18, 34], width: blocks.Filters = 64,
                 weight_decay: blocks.WeightDecay = 1e-4, batch_norm_momentum: blocks.Momentum = 0.9,
                 dropout: blocks.Dropout = 0.0, spatial_dropout: blocks.Dropout = 0.0,
                 stochastic_depth: blocks.Dropout = 0.0) -> keras.Model:
    """The residual networks of basic blocks for ImageNet.

    He et al., "Deep Residual Learning for Image Recognition", 2016, table 1, with shortcut option B. At the paper's
    setting, (224, 224, 3) and 1000 classes: resnet18 11,689,512 trainable parameters and 1.8 G multiply-adds, resnet34
    21,797,672 and 3.7 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        width: filters of the first stage; each later one has twice as many.
        weight_decay: L2 penalty on convolution kernels.
        batch_norm_momentum: of the moving statistics.
        dropout: rate before the classifier.
        spatial_dropout: rate at which whole channels are left out between the two convolutions of a block (Tompson et
            al. 2015).
        stochastic_depth: rate at which the last residual branch is left out; earlier ones less, in proportion.
    """
    layers = keras.layers

    def convolution(x, filters: int, kernel: int, strides: int = 1, activation: str | None = "relu"):
        return blocks.convolution_norm(x, filters, kernel, strides, activation=activation, momentum=batch_norm_momentum,
                                       weight_decay=weight_decay)

    def basic_block(x, filters: int, strides: int, drop: float):
        shortcut = x
        if strides != 1:
            shortcut = convolution(x, filters, 1, strides, activation=None)
        x = blocks.spatial_dropout(convolution(x, filters, 3, strides), spatial_dropout)
        x = blocks.stochastic_depth(convolution(x, filters, 3, activation=None), drop)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    pixels = blocks.image_input(input_shape, 32, f"resnet{depth}")
    x = layers.MaxPooling2D(3, 2, padding="same")(convolution(blocks.scaled(pixels), width, 7, 2))
    counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth]
    done = 0
    for stage, count in enumerate(counts):
        for block in range(count):
            filters = width * 2**stage
            strides = 2 if stage > 0 and block == 0 else 1
            done += 1
            x = basic_block(x, filters, strides, stochastic_depth * done / sum(counts))
    return keras.Model(pixels, blocks.logits(x, classes, dropout), name=f"resnet{depth}")


@register("resnet50", paper=RESNET, depth=50, version=1)
@register("resnet101", paper=RESNET, depth=101, version=1)
@register("resnet152", paper=RESNET, depth=152, version=1)
@register("resnet50_v2", paper=RESNET_V2, depth=50, version=2)
@register("resnet101_v2", paper=RESNET_V2, depth=101, version=2)
@register("resnet152_v2", paper=RESNET_V2, depth=152, version=2)
def resnet_bottleneck(input_shape: tuple[int, int, int], classes: int, *, depth: Literal[50, 101, 152],
                      version: Literal[1, 2], dropout: blocks.Dropout = 0.0) -> keras.Model:
    """The residual networks of bottleneck blocks, of keras.applications, with the pixel scaling inside.

    He et al., "Deep Residual Learning for Image Recognition", 2016, and for v2 "Identity Mappings in Deep Residual
    Networks", 2016. At the papers' setting, (224, 224, 3) and 1000 classes: resnet50 25,636,712 parameters and 3.9 G
    multiply-adds, resnet101 44,707,176 and 7.6 G, resnet152 60,419,944 and 11.3 G.

    Args:
        input_shape: (height, width, channels) in pixels; at least 32 x 32.
        classes: number of logits.
        dropout: rate before the classifier.
    """
    pixels = blocks.image_input(input_shape, 32, f"resnet{depth}")
    application = getattr(keras.applications, f"ResNet{depth}{'V2' if version == 2 else ''}")
    backbone = application(input_tensor=blocks.scaled(pixels), include_top=False, weights=None)
    name = f"resnet{depth}{'_v2' if version == 2 else ''}"
    return keras.Model(pixels, blocks.logits(backbone.output, classes, dropout), name=name)
