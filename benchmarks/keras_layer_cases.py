"""Every layer of Keras, in its default settings and in those that change what it computes: a small model of each."""
from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

L = keras.layers
IMAGE, VOLUME, SEQUENCE, VECTOR, FRAMES = (12, 10, 4), (6, 5, 4, 3), (9, 4), (7,), (4, 8, 8, 3)
#: What augmentation takes, most of which does nothing to whoever asks a model.
COLOURS = (12, 10, 3)
EXAMPLES = 16
#: Layers that are called with a query and a value.
ATTENDING = ("MultiHeadAttention", "GroupQueryAttention")
#: Layers that do nothing to whoever asks a model.
PASSING = ("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity",
           "Masking", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
#: Layers without a case, and why.
NOT_COMPUTING = {
    "InputLayer": "no layer of its own", "Layer": "a base class", "Wrapper": "a base class",
    "Pipeline": "several layers in a row", "FlaxLayer": "needs JAX", "JaxLayer": "needs JAX",
    "TorchModuleWrapper": "needs PyTorch", "TFSMLayer": "another model's folder", "Lambda": "Python code",
    "MixUp": "mixes examples while a model learns", "CutMix": "mixes examples while a model learns",
    "MaxNumBoundingBoxes": "takes boxes"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer in some settings.

    Args:
        kind: the layer's class.
        settings: as a user writes them; a function makes those that are layers, each time anew.
        shape: of its input, or of its several inputs, without the batch.
        values: how inputs are drawn: real, whole (0 to 4), text.
        note: what else tells it from others in the same settings.
    """

    kind: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    shape: Any = IMAGE
    values: str = "real"
    note: str = ""

    @property
    def title(self) -> str:
        shown = ", ".join(f"{name}={value if not callable(value) else type(value()).__name__}"
                          for name, value in self.settings.items())
        return f"{self.kind}({shown})" + (f" {self.note}" if self.note else "")

    def model(self) -> keras.Model:
        """Return a model of the layer alone, with weights that are not what layers begin with."""
        keras.utils.set_random_seed(3)
        settings = {name: value() if callable(value) else value for name, value in self.settings.items()}
        shapes = self.shape if isinstance(self.shape, list) else [self.shape]
        dtype = {"real": "float32", "whole": "int32", "text": "string"}[self.values]
        inputs = [keras.Input(shape, dtype=dtype, name=f"x{number}") for number, shape in enumerate(shapes)]
        layer = getattr(L, self.kind)(**settings, name="layer")
        outputs = layer(inputs[0], inputs[0]) if self.kind in ATTENDING else layer(
            inputs if len(inputs) > 1 else inputs[0])
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        if self.kind in PASSING or self.shape == COLOURS or self.settings.get("activation") == "linear":
            outputs = [L.Rescaling(0.5)(output) for output in outputs]  # a file must compute something
        model = keras.Model(inputs, {f"y{number}": output for number, output in enumerate(outputs)})
        generator = np.random.default_rng(4)
        for variable in model.variables:
            if "seed" not in variable.path and str(variable.dtype).startswith("float"):
                values = generator.uniform(0.3, 1.2, variable.shape) if "variance" in variable.path else (
                    generator.normal(0, 0.5, variable.shape))
                variable.assign(values)
        return model

    def inputs(self, model: keras.Model) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(5)
        shapes = {tensor.name: (EXAMPLES, *tensor.shape[1:]) for tensor in model.inputs}
        if self.values == "whole":
            return {name: generator.integers(0, 4, shape).astype("int32") for name, shape in shapes.items()}
        if self.values == "text":
            return {name: generator.choice(["cat", "dog", "a b"], shape) for name, shape in shapes.items()}
        return {name: generator.normal(0, 1, shape).astype("float32") for name, shape in shapes.items()}


def cases() -> list[Case]:
    """Return all cases, by the names of their layers."""
    return sorted(_cases(), key=lambda case: case.kind)


def _cases() -> Iterator[Case]:
    for name in ("relu", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "mish", "relu6", "selu", "silu", "softplus",
                 "softsign", "tanh", "exponential", "elu", "linear", "log_softmax", "sigmoid", "softmax", "hard_tanh",
                 "celu", "glu", "hard_shrink", "soft_shrink", "squareplus", "sparse_plus", "tanh_shrink",
                 "log_sigmoid"):
        yield Case("Activation", {"activation": name})
    yield Case("ActivityRegularization", {"l2": 0.1})
    for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME)):
        yield from _by_rank(rank, shape)
    for kind in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"):
        yield Case(kind, shape=[IMAGE, IMAGE])
    yield Case("Concatenate", {"axis": 1}, [IMAGE, IMAGE])
    yield Case("Concatenate", {"axis": -2}, [IMAGE, IMAGE])
    yield Case("Add", shape=[IMAGE, (1, 1, 4)], note="of other sizes")
    yield Case("Dot", {"axes": 1}, [VECTOR, VECTOR])
    yield Case("Dot", {"axes": (2, 2), "normalize": True}, [SEQUENCE, SEQUENCE])
    for kind in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"):
        yield Case(kind, {"stddev" if kind == "GaussianNoise" else "rate": 0.3})
    yield from _attention()
    yield from _normalizations()
    yield from _recurrent()
    yield from _preprocessing()
    for settings in ({}, {"activation": "softmax"}, {"use_bias": False}):
        yield Case("Dense", {"units": 5, **settings}, VECTOR)
    yield Case("Dense", {"units": 5}, IMAGE, note="of an image")
    yield Case("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 6), "bias_axes": "d"}, SEQUENCE)
    yield Case("EinsumDense", {"equation": "ab,bcd->acd", "output_shape": (3, 2)}, VECTOR)
    for kind in ("Embedding", "ReversibleEmbedding"):
        yield Case(kind, {"input_dim": 5, "output_dim": 3}, (6,), "whole")
    yield Case("Embedding", {"input_dim": 5, "output_dim": 3, "mask_zero": True}, (6,), "whole")
    for kind in ("ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "Flatten", "Identity"):
        yield Case(kind)
    yield Case("ELU", {"alpha": 0.5})
    yield Case("LeakyReLU", {"negative_slope": 0.1})
    yield Case("PReLU", {"shared_axes": [1, 2]})
    yield Case("ReLU", {"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5})
    yield Case("Softmax", {"axis": 1})
    yield Case("Softmax", {"axis": -2})
    yield Case("Masking", {"mask_value": 0.0}, SEQUENCE)
    yield Case("Permute", {"dims": (2, 1, 3)})
    yield Case("RepeatVector", {"n": 3}, VECTOR)
    yield Case("Reshape", {"target_shape": (-1, 4)})
    yield Case("TimeDistributed", {"layer": lambda: L.Conv2D(2, 3, name="inner")}, FRAMES)
    yield Case("TimeDistributed", {"layer": lambda: L.Dense(2, name="inner")}, SEQUENCE)
    yield Case("SpectralNormalization", {"layer": lambda: L.Conv2D(2, 3, name="inner")})


def _by_rank(rank: int, shape: tuple[int, ...]) -> Iterator[Case]:
    """Give the layers that there are for one, two and three dimensions."""
    first = {"data_format": "channels_first"}
    for kind in ("AveragePooling", "MaxPooling"):
        for settings in ({}, {"strides": 1, "padding": "same"}, first):
            yield Case(f"{kind}{rank}D", {"pool_size": 2, **settings}, shape)
    for kind in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        yield Case(f"{kind}{rank}D", {"output_size": 2}, shape)
    for kind in ("GlobalAveragePooling", "GlobalMaxPooling"):
        for settings in ({}, {"keepdims": True}, first):
            yield Case(f"{kind}{rank}D", settings, shape)
    convolution = {"filters": 4, "kernel_size": 2}
    for settings in ({}, {"strides": 2, "padding": "same", "activation": "relu"}, {"dilation_rate": 2},
                     {"groups": shape[-1]} if shape[-1] == 4 else {"use_bias": False}, first):
        yield Case(f"Conv{rank}D", {**convolution, **settings}, shape)
    for settings in ({}, {"strides": 2, "padding": "same"}, {"strides": 2, "output_padding": 1},
                     {**first, "filters": 7}):
        yield Case(f"Conv{rank}DTranspose", {**convolution, **settings}, shape)
    if rank < 3:
        for kind in ("DepthwiseConv", "SeparableConv"):
            named = {"kernel_size": 2} if kind == "DepthwiseConv" else convolution
            for settings in ({}, {"depth_multiplier": 2, "padding": "same"}, {"dilation_rate": 2}, first):
                yield Case(f"{kind}{rank}D", {**named, **settings}, shape)
    yield Case(f"Conv{rank}D", {**convolution, "padding": "causal"}, shape) if rank == 1 else Case(
        f"Conv{rank}D", {**convolution, "padding": "same"}, shape)
    yield Case(f"ConvLSTM{rank}D", {"filters": 2, "kernel_size": 2}, (3, *shape))
    for kind in ("Cropping", "ZeroPadding"):
        yield Case(f"{kind}{rank}D", {("cropping" if kind == "Cropping" else "padding"): 1}, shape)
    for settings in ({}, *([{"interpolation": "bilinear"}] if rank == 2 else [])):
        yield Case(f"UpSampling{rank}D", settings, shape)
    yield Case(f"SpatialDropout{rank}D", {"rate": 0.3}, shape)


def _attention() -> Iterator[Case]:
    yield Case("Attention", shape=[SEQUENCE, SEQUENCE])
    yield Case("Attention", {"use_scale": True, "score_mode": "concat"}, [SEQUENCE, SEQUENCE])
    yield Case("AdditiveAttention", shape=[SEQUENCE, SEQUENCE])
    yield Case("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, SEQUENCE)
    yield Case("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "value_dim": 2, "output_shape": 5}, SEQUENCE)
    yield Case("GroupQueryAttention", {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}, SEQUENCE)


def _normalizations() -> Iterator[Case]:
    for settings in ({}, {"axis": 1}, {"axis": -2}, {"center": False, "scale": False}, {"epsilon": 1e-2}):
        yield Case("BatchNormalization", settings)
    yield Case("BatchNormalization", shape=VECTOR, note="of a vector")
    for settings in ({"groups": 2}, {"groups": -1}, {"groups": 2, "axis": 1}):
        yield Case("GroupNormalization", settings)
    for settings in ({}, {"axis": 1}, {"axis": [1, 2]}, {"axis": -2}, {"center": False}):
        yield Case("LayerNormalization", settings)
    for settings in ({}, {"axis": 1}):
        yield Case("RMSNormalization", settings)
        yield Case("UnitNormalization", settings)
    for settings in ({"mean": 0.5, "variance": 2.0}, {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [1.0, 2.0, 3.0, 4.0]},
                     {"mean": 0.5, "variance": 2.0, "invert": True}):
        yield Case("Normalization", settings)


def _recurrent() -> Iterator[Case]:
    for kind in ("GRU", "LSTM", "SimpleRNN"):
        for settings in ({}, {"return_sequences": True}, {"go_backwards": True}, {"return_state": True},
                         {"unroll": True}, {"use_bias": False}, {"activation": "relu"}):
            yield Case(kind, {"units": 3, **settings}, SEQUENCE)
        for mode in ("concat", "sum", "ave"):
            yield Case("Bidirectional", {"layer": lambda kind=kind: getattr(L, kind)(3, name="inner"),
                                         "merge_mode": mode}, SEQUENCE)
        yield Case("RNN", {"cell": lambda kind=kind: getattr(L, f"{kind}Cell")(3, name="inner")}, SEQUENCE)
    yield Case("GRU", {"units": 3, "reset_after": False}, SEQUENCE)
    yield Case("RNN", {"cell": lambda: L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2)], name="inner")}, SEQUENCE)


def _preprocessing() -> Iterator[Case]:
    yield Case("Rescaling", {"scale": 0.5, "offset": 1.0})
    for settings in ({}, {"interpolation": "nearest"}, {"crop_to_aspect_ratio": True}, {"antialias": True},
                     {"pad_to_aspect_ratio": True}, {"interpolation": "bicubic"}):
        yield Case("Resizing", {"height": 6, "width": 7, **settings})
    yield Case("CenterCrop", {"height": 6, "width": 7})
    for settings in ({}, {"output_mode": "one_hot"}):
        yield Case("Discretization", {"bin_boundaries": [-0.5, 0.0, 0.5], **settings}, VECTOR)
    yield Case("CategoryEncoding", {"num_tokens": 4}, (6,), "whole")
    yield Case("IntegerLookup", {"vocabulary": [1, 3]}, (6,), "whole")
    yield Case("Hashing", {"num_bins": 5}, (6,), "whole")
    yield Case("HashedCrossing", {"num_bins": 5}, [(1,), (1,)], "whole")
    yield Case("StringLookup", {"vocabulary": ["cat", "dog"]}, (6,), "text")
    yield Case("TextVectorization", {"vocabulary": ["cat", "dog"], "output_sequence_length": 3}, (1,), "text")
    yield Case("STFTSpectrogram", {"frame_length": 32}, (128, 1))
    yield Case("MelSpectrogram", {"fft_length": 64, "sequence_stride": 32, "num_mel_bins": 8}, (256,))
    needing = {"RandomBrightness": {"factor": 0.2}, "RandomContrast": {"factor": 0.2}, "RandomHue": {"factor": 0.2},
               "RandomColorDegeneration": {"factor": 0.2}, "RandomPosterization": {"factor": 4},
               "RandomSaturation": {"factor": 0.2}, "RandomSharpness": {"factor": 0.2},
               "RandomRotation": {"factor": 0.1}, "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
               "RandomZoom": {"height_factor": 0.1}, "RandomCrop": {"height": 8, "width": 8}}
    for name in ("AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Equalization",
                 "RandAugment", "RandomColorJitter", "RandomElasticTransform", "RandomErasing", "RandomFlip",
                 "RandomGaussianBlur", "RandomGrayscale", "RandomInvert", "RandomPerspective", "RandomShear",
                 "Solarization"):
        yield Case(name, shape=COLOURS)
    for name, settings in needing.items():
        yield Case(name, settings, COLOURS)


def missing() -> list[str]:
    """Return the layers of the installed Keras that no case is about, and that are none of those that compute nothing
    of their own."""
    classes: dict[type, list[str]] = {}
    for name, value in vars(L).items():
        if inspect.isclass(value) and issubclass(value, L.Layer):
            classes.setdefault(value, []).append(name)
    covered = {case.kind for case in cases()} | set(NOT_COMPUTING)
    cells = {"GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"}
    return sorted(names[0] for names in classes.values() if not set(names) & (covered | cells))
