"""Model builders, one file per family. ``models.build("resnet8", input_shape=(28, 28, 3), classes=10)`` gives a Keras model.

Every model takes raw pixels 0..255: scaling is its first layer, so that what is exported needs no preprocessing in an app.
Every model ends in logits.
"""
from models import lenet5, mobilenet, resnet
from models.registry import Builder, build, builder, builders, register

__all__ = ["Builder", "build", "builder", "builders", "lenet5", "mobilenet", "register", "resnet"]
