"""Model builders, one file per family. ``models.build("resnet8", input_shape=(28, 28, 3), classes=10)`` gives a Keras
model.

Preprocessing is inside every model, so that what is exported needs none in an app: those that see images take raw
pixels 0..255. Classifiers end in logits. Outputs have names: a dict of them, or, of one alone, the name of its layer.
"""
from models import (
    alexnet,
    attention_unet,
    bc_resnet,
    blazeface,
    census,
    conformer,
    convnext,
    crnn,
    deeplab,
    deepspeech2,
    densenet,
    dlinear,
    ds_cnn,
    efficientnet,
    faster_rcnn,
    fasttext,
    fcn,
    ft_transformer,
    googlenet,
    inception,
    iresnet,
    language_rnn,
    lenet5,
    lraspp,
    mlp,
    mobilefacenet,
    mobilenet,
    mobilevit,
    nbeats,
    pretrained,
    resnet,
    retinanet,
    seq2seq,
    series_anomaly,
    series_recurrent,
    shufflenet,
    squeezenet,
    ssd,
    tagger,
    tcn,
    text_rnn,
    textcnn,
    unet,
    unet_plus_plus,
    vgg,
    vit,
    wav2letter,
    wide_and_deep,
    yolov3,
    yolov8,
)
from models.backbones import backbone
from models.outputs import cut, named_inputs, named_outputs
from models.registry import Builder, build, builder, builders, features, register

__all__ = ["Builder", "alexnet", "attention_unet", "backbone", "bc_resnet", "blazeface", "build", "builder", "builders",
           "census", "conformer", "convnext", "crnn", "cut", "deeplab", "deepspeech2", "densenet", "dlinear", "ds_cnn",
           "efficientnet", "faster_rcnn", "fasttext", "fcn", "features", "ft_transformer", "googlenet", "inception",
           "iresnet", "language_rnn", "lenet5", "lraspp", "mlp", "mobilefacenet", "mobilenet", "mobilevit",
           "named_inputs", "named_outputs", "nbeats", "pretrained", "register", "resnet", "retinanet", "seq2seq",
           "series_anomaly", "series_recurrent", "shufflenet", "squeezenet", "ssd", "tagger", "tcn", "text_rnn",
           "textcnn", "unet", "unet_plus_plus", "vgg", "vit", "wav2letter", "wide_and_deep", "yolov3", "yolov8"]
