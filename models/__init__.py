"""Model builders, one file per family. ``models.build("resnet8", input_shape=(28, 28, 3), classes=10)`` gives a Keras model.

Every model takes raw pixels 0..255: scaling is its first layer, so that what is exported needs no preprocessing in an app.
Every model ends in logits.
"""
from models import census, ds_cnn, lenet5, mobilenet, resnet, squeezenet, vgg
from models.registry import Builder, build, builder, builders, register

__all__ = ["Builder", "build", "builder", "builders", "census", "ds_cnn", "lenet5", "mobilenet", "register", "resnet", "squeezenet", "vgg"]
