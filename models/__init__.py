"""Model builders, one file per family. ``models.build("resnet8", input_shape=(28, 28, 3), classes=10)`` gives a Keras model.

Every model takes raw pixels 0..255: scaling is its first layer, so that what is exported needs no preprocessing in an app.
Every model ends in logits.
"""
from models import (
    alexnet,
    census,
    convnext,
    densenet,
    ds_cnn,
    efficientnet,
    googlenet,
    inception,
    lenet5,
    mobilenet,
    mobilevit,
    pretrained,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
    vit,
)
from models.registry import Builder, build, builder, builders, features, main_output, register

__all__ = ["Builder", "alexnet", "build", "builder", "builders", "census", "convnext", "densenet", "ds_cnn", "efficientnet", "features",
           "googlenet", "inception", "lenet5", "main_output", "mobilenet", "mobilevit", "pretrained", "register", "resnet", "shufflenet",
           "squeezenet", "vgg", "vit"]
