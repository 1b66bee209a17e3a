"""What tests of compression share: how their models are written."""
from export.keras_models import graph
from export.signature import DEFAULT, Signature


def functions(model):
    """What is written of a model of one input and one output: from `image` to `logits`."""
    signature = graph.signature_of(model)
    (image,), (logits,) = signature.inputs, signature.outputs
    named = Signature(inputs=(image.model_copy(update={"name": "image"}),),
                      outputs=(logits.model_copy(update={"name": "logits"}),))
    return [graph.function(model, named)]


def calibration(images):
    """The images as `convert` takes them."""
    return [(DEFAULT, {"image": images})]
