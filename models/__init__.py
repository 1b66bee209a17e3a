"""Model builders, one file per family. ``models.build("resnet8", input_shape=(28, 28, 3), classes=10)`` gives a Keras
model.

Preprocessing is inside every model, so that what is exported needs none in an app: those that see images take raw
pixels 0..255. Classifiers end in logits. Outputs have names: a dict of them, or, of one alone, the name of its layer.
"""
from models import (
    alexnet,
    attention_unet,
    census,
    convnext,
    deeplab,
    densenet,
    ds_cnn,
    efficientnet,
    fcn,
    ft_transformer,
    googlenet,
    inception,
    lenet5,
    lraspp,
    mlp,
    mobilenet,
    mobilevit,
    pretrained,
    resnet,
    shufflenet,
    squeezenet,
    unet,
    unet_plus_plus,
    vgg,
    vit,
    wide_and_deep,
    yolov8,
)
from models.backbones import backbone
from models.outputs import cut, named_inputs, named_outputs
from models.registry import Builder, build, builder, builders, features, register

__all__ = ["Builder", "alexnet", "attention_unet", "backbone", "build", "builder", "builders", "census", "convnext",
           "cut", "deeplab", "densenet", "ds_cnn", "efficientnet", "fcn", "features", "ft_transformer", "googlenet",
           "inception", "lenet5", "lraspp", "mlp", "mobilenet", "mobilevit", "named_inputs", "named_outputs",
           "pretrained", "register", "resnet", "shufflenet", "squeezenet", "unet", "unet_plus_plus", "vgg", "vit",
           "wide_and_deep", "yolov8"]
