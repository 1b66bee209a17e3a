"""Autoencoders with a codebook: an image becomes a small map of codes, and a prior says which code follows."""
from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import blocks, variational
from models.outputs import library_of
from models.registry import register
from models.variational import CONDITION, GENERATED, IMAGE, LOCATION, LOG_SCALE, STEPS

with epy.lazy_imports():
    import keras

#: The numbers of vectors of the codebook, row by row; what the encoder says in their place; the vectors themselves; and
#: how likely each code is at its place, given those before it.
CODES, VECTORS, QUANTIZED, LOGITS_OF_CODES = "codes", "vectors", "quantized", "code_logits"
CODEBOOK = "codebook"
#: Places that a layer of the prior looks back at are so far apart; together they see this many places.
DILATIONS = (1, 2, 4, 8, 16, 32)
KERNEL = 3
SEEN = 1 + (KERNEL - 1) * sum(DILATIONS)
Count = Annotated[int, Field(ge=2)]


class Parts(NamedTuple):
    """The parts of such a model, which share its layers: from an image to `vectors`; from `quantized` vectors to the
    picture; from codes, and a condition where there is one, to the logits of each; from codes to their vectors."""

    encoder: Any
    decoder: Any
    prior: Any
    lookup: Any


@register("vqvae", task="image_generation", paper="https://arxiv.org/abs/1711.00937",
          at={"input_shape": (28, 28, 1), "noise_shape": (49,), "classes": 0})
def vqvae(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], classes: int, *,
          width: blocks.Filters = 32, codes: Count = 64, size: Annotated[int, Field(ge=1)] = 16,
          prior_width: blocks.Filters = 64) -> keras.Model:
    """VQ-VAE: every 4 x 4 pixels of an image become one of a few vectors.

    Van den Oord et al., "Neural Discrete Representation Learning", 2017. Pixels are learnt as those of `vae` are; the
    prior is a stack of causal convolutions over the codes, row by row (van den Oord et al., "WaveNet", 2016). At
    (28, 28, 1) and 64 codes 177,746 parameters and 10.2 M multiply-adds, of which the prior takes 3.8 M for each code
    that it draws.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 4.
        noise_shape: one number for each code: (height / 4 * width / 4,).
        classes: of which one is asked for; 0 where none is.
        width: filters of the first convolution; the second has twice as many.
        codes: vectors of the codebook.
        size: numbers of a vector.
        prior_width: filters of the prior.
    """
    image = variational.image_input(input_shape, "vqvae")
    rows, columns = input_shape[0] // 2 ** STEPS, input_shape[1] // 2 ** STEPS
    if tuple(noise_shape) != (rows * columns,):
        raise ValueError(f"vqvae draws a code for every 4 x 4 pixels, and its noise is {noise_shape}: set "
                         f"data.noise.size to {rows * columns}")
    if rows * columns > SEEN:
        raise ValueError(f"vqvae: its prior sees {SEEN} codes, and images of {input_shape[0]} x {input_shape[1]} "
                         f"pixels have {rows * columns}: set data.image.size to 44 or less")
    x = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu")(variational.maps(image, width))
    vectors = keras.layers.Conv2D(size, 1, name=VECTORS)(x)
    numbers = keras.Input((rows * columns,), dtype="int32", name=CODES)
    start = keras.initializers.RandomUniform(-1, 1)
    found = keras.layers.Embedding(codes, size, embeddings_initializer=start, name=CODEBOOK)(numbers)
    quantized = keras.layers.Reshape((rows, columns, size), name=QUANTIZED)(found)
    y = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu")(quantized)
    condition = keras.Input((classes,), name=CONDITION) if classes else None
    likely = _prior(numbers, condition, codes, prior_width)
    inputs = {IMAGE: image, CODES: numbers, **({CONDITION: condition} if classes else {})}
    made = variational.pixels(y, input_shape[-1], width)
    return keras.Model(inputs, {**made, VECTORS: vectors, QUANTIZED: quantized, LOGITS_OF_CODES: likely}, name="vqvae")


def parts(model: Any) -> Parts:
    """Return the parts of a model of Keras 3 or tf_keras."""
    library = library_of(model)
    inputs, outputs = model.input, model.output
    asked = {name: tensor for name, tensor in inputs.items() if name != IMAGE}
    made = {name: outputs[name] for name in (GENERATED, LOCATION, LOG_SCALE)}
    return Parts(library.Model(inputs[IMAGE], {VECTORS: outputs[VECTORS]}),
                 library.Model(outputs[QUANTIZED], made),
                 library.Model(asked, {LOGITS_OF_CODES: outputs[LOGITS_OF_CODES]}),
                 library.Model(inputs[CODES], {QUANTIZED: outputs[QUANTIZED]}))


def _prior(numbers: Any, condition: Any, codes: int, width: int) -> Any:
    """Return the logits of each code, (batch, places, codes), by those before it."""
    x = keras.layers.Embedding(codes, width)(numbers)
    x = keras.layers.Cropping1D((0, 1))(keras.layers.ZeroPadding1D((1, 0))(x))
    if condition is not None:
        asked = keras.layers.Dense(width)(condition)
        x = keras.layers.Add()([x, keras.layers.Reshape((1, width))(asked)])
    for dilation in DILATIONS:
        y = keras.layers.Conv1D(width, KERNEL, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = keras.layers.Add()([x, y])
    return keras.layers.Dense(codes, name=LOGITS_OF_CODES)(x)
