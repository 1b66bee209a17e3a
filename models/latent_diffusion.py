"""Latent diffusion: a small autoencoder, and a U-Net that takes noise away from its latents, by a text."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from etils import epy
from pydantic import Field

from models import autoencoder, blocks, texts, variational
from models.ddpm import DENOISED, STEP, Counts
from models.outputs import library_of
from models.registry import register
from models.step_unet import Blocks, check_groups, unet
from models.text_encoder import encoded_text
from models.transformer import Block, stack
from models.variational import CONDITION, GENERATED, IMAGE, MEAN, NOISE

with epy.lazy_imports():
    import keras

#: The numbers of a text's tokens.
TOKENS = "tokens"
#: What a number of a latent is at most while it is made, in deviations.
MOST = 10.0
Count = Annotated[int, Field(ge=1)]


class Parts(NamedTuple):
    """The parts of such a model, which share its layers: from an image to `mean`, its latent; from `noise`, a latent,
    to the picture; from `tokens` to `condition`, the vectors of a text; from a list of a noisy latent, its step and a
    condition to `denoised`; and the same from `noise`, `step` and `tokens`."""

    encoder: Any
    decoder: Any
    text: Any
    denoiser: Any
    network: Any


@register("latent_diffusion", task="image_generation", paper="https://arxiv.org/abs/2112.10752",
          at={"input_shape": (28, 28, 1), "noise_shape": (7, 7, 4), "length": 8, "vocabulary": 32})
def latent_diffusion(input_shape: tuple[int, int, int], noise_shape: tuple[int, ...], length: int, vocabulary: int, *,
                     width: blocks.Filters = 64, multipliers: Counts = (1, 2), units: Count = 1, heads: Count = 4,
                     groups: Count = 16, dropout: blocks.Dropout = 0.1, text_units: Count = 64, text_depth: Count = 2,
                     autoencoder_width: blocks.Filters = 32) -> keras.Model:
    """Latent diffusion by text: the U-Net of `ddpm` on the latents of `autoencoder`, with cross attention.

    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, section 3: behind each
    residual block the positions look at each other and at the vectors of the text's tokens. Their mean is added to the
    vector of the step (Nichol et al., "GLIDE", 2022, section 2.2). The autoencoder does not learn; its weights are
    those of a model that was trained before, see `load_autoencoder`. At (28, 28, 1), (7, 7, 4), 8 tokens and 32 in the
    vocabulary 3,698,609 parameters; a step of the U-Net takes 73.0 M multiply-adds.

    Args:
        input_shape: (height, width, channels) in pixels; both sides multiples of 4.
        noise_shape: of the latent: (height / 4, width / 4, numbers).
        length: tokens of a text.
        vocabulary: tokens that there are; 0 is padding.
        width: filters of the U-Net's finest maps, times the first multiplier.
        multipliers: of the filters, from the finest maps on.
        units: residual blocks of each size on the way down; one more on the way up.
        heads: of all attention.
        groups: of channels that are normalized together.
        dropout: rate in each residual block.
        text_units: of a token.
        text_depth: blocks of the text encoder.
        autoencoder_width: the width of the autoencoder.
    """
    name = "latent_diffusion"
    image = variational.image_input(input_shape, name)
    autoencoder.check_latent(name, input_shape, noise_shape)
    check_groups(name, width, multipliers, groups)
    if unfit := next((one for one in (*(width * factor for factor in multipliers), text_units) if one % heads), None):
        raise ValueError(f"{name}: {unfit} units do not divide among {heads} heads; give multiples of {heads}")
    noise = keras.Input(noise_shape, name=NOISE)
    step = keras.Input((), name=STEP)
    tokens = texts.tokens_of(length)
    mean, _ = autoencoder.encoded(image, noise_shape[-1], autoencoder_width)
    made = autoencoder.decoded(noise, input_shape[-1], autoencoder_width)
    condition = encoded_text(tokens, vocabulary, text_units, heads, text_depth)
    denoised = _denoised(_Blocks(width, groups, dropout, heads, condition), noise, step, multipliers, units)
    outputs = {DENOISED: denoised, CONDITION: condition, MEAN: mean, GENERATED: made[GENERATED]}
    model = keras.Model({IMAGE: image, NOISE: noise, STEP: step, TOKENS: tokens}, outputs, name=name)
    for half in halves(model):
        for layer in half.layers:
            layer.trainable = False
    return model


def parts(model: Any) -> Parts:
    """Return the parts of a model of Keras 3 or tf_keras, which cannot be written as a file afterwards: Keras does not
    find the layers again that a part begins behind."""
    inputs, outputs = model.input, model.output
    return Parts(*halves(model), _part(model, inputs[TOKENS], CONDITION),
                 _part(model, [inputs[NOISE], inputs[STEP], outputs[CONDITION]], DENOISED),
                 _part(model, {name: inputs[name] for name in (NOISE, STEP, TOKENS)}, DENOISED))


def halves(model: Any) -> tuple[Any, Any]:
    """Return the halves of the autoencoder of a model, or of an autoencoder: from an image to `mean`, and from `noise`
    to `generated`."""
    return _part(model, model.input[IMAGE], MEAN), _part(model, model.input[NOISE], GENERATED)


def _part(model: Any, inputs: Any, name: str) -> Any:
    library = library_of(model)
    return library.Model(inputs, {name: model.output[name]})


def load_autoencoder(model: Any, path: Path) -> list[str]:
    """Load the weights of a trained `autoencoder` into a model.

    Args:
        path: of its .keras file.

    Returns:
        The names of the layers that have its weights now.

    Raises:
        ValueError: the file cannot be read, is of another kind of model, or of another size.
    """
    try:
        other = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if other.name != "autoencoder":
        raise ValueError(f"{path} is a {other.name}; give a model of builder autoencoder")
    pairs = list(zip(halves(model), halves(other), strict=True))
    for ours, theirs in pairs:
        sizes, known = ([tuple(weight.shape) for weight in one.weights] for one in (ours, theirs))
        if sizes != known:
            differing = next((two for two in zip(known, sizes, strict=False) if two[0] != two[1]), (known, sizes))
            raise ValueError(f"{path} is of another size: it has weights {differing[0]} where this model has "
                             f"{differing[1]}; give model.autoencoder_width and data.noise.size as its recipe has them")
    for ours, theirs in pairs:
        ours.set_weights(theirs.get_weights())
    return [layer.name for ours, _ in pairs for layer in ours.layers if layer.weights]


def _denoised(make: _Blocks, noise: Any, step: Any, multipliers: Counts, units: int) -> Any:
    """Return what is to be taken away of noisy latents."""
    known = make.vector(step, keras.layers.GlobalAveragePooling1D()(make.text))
    x = unet(make, noise, known, multipliers, units, look=make.looked, deepest=make.looked)
    return make.convolution(make.active(x), noise.shape[-1], zeros=True, name=DENOISED)


class _Blocks(Blocks):
    """Makes the parts of one network.

    Args:
        heads: of its attention.
        text: the vectors that positions look at, (batch, length, units).
    """

    def __init__(self, width: int, groups: int, dropout: float, heads: int, text: Any):
        super().__init__(width, groups, dropout)
        self.heads = heads
        self.text = text
        self.looks = 0

    def looked(self, x: Any) -> Any:
        """Return maps whose positions have looked at each other and at the text."""
        height, width, channels = x.shape[1:]
        self.looks += 1
        block = Block(channels, self.heads, 2 * channels, deviation=None)
        flat = keras.layers.Reshape((height * width, channels))(self.normalized(x))
        y = stack(flat, block, 1, f"look_{self.looks}", memory=self.text)
        y = keras.layers.Dense(channels, kernel_initializer="zeros")(y)
        return keras.layers.Add()([x, keras.layers.Reshape((height, width, channels))(y)])
