"""Stable Diffusion 3 of KerasHub's presets, in the parts that pictures are made by."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import numpy as np

#: The parts: from tokens to what a text means, from noisy latents to where they go, from latents to a picture, and from
#: an image to latents.
ENCODE_TEXT, DENOISE, DECODE, ENCODE = "encode_text", "denoise", "decode", "encode"
PARTS = (ENCODE_TEXT, DENOISE, DECODE, ENCODE)
#: The text encoders, by their names in KerasHub.
ENCODERS = ("clip_l", "clip_g")
#: What the parts take and give, beside the tokens of each encoder.
CONTEXT, POOLED, LATENTS, STEP, DENOISED, IMAGE, GENERATED = (
    "context", "pooled", "latents", "step", "denoised", "image", "generated")
#: The only kind of preset that is taken, and how the names of those begin that are downloaded.
KIND, PUBLISHED = "StableDiffusion3Backbone", "stable_diffusion_3"
#: Half of the levels of a pixel: 0..255 is -1..1 in here.
HALF = 127.5


@dataclasses.dataclass(frozen=True)
class Words:
    """How a text becomes tokens of one encoder.

    Args:
        length: tokens of a text, the first and the last included.
        start, end, padding: their numbers.
    """

    length: int
    start: int
    end: int
    padding: int

    def framed(self, tokens: Sequence[int]) -> list[int]:
        """Return a text's tokens between start and end, cut or padded to the length."""
        known = [self.start, *tokens[:self.length - 2], self.end]
        return known + [self.padding] * (self.length - len(known))


@dataclasses.dataclass(frozen=True)
class StableDiffusion:
    """A preset.

    Args:
        backbone: KerasHub's model.
        preprocessor: KerasHub's, from texts to tokens.
        parts: a model for each of PARTS, which share the backbone's weights.
    """

    backbone: Any
    preprocessor: Any
    parts: Mapping[str, keras.Model]

    def variables(self) -> list[Any]:
        """Return the variables of all parts, each once."""
        known = {id(one): one for part in self.parts.values() for one in part.variables}
        return list(known.values())

    def words(self) -> dict[str, Words]:
        """Return how texts become tokens, by encoder."""
        result = {}
        for name in ENCODERS:
            own = getattr(self.preprocessor, f"{name}_preprocessor")
            known = own.tokenizer
            result[name] = Words(own.sequence_length, known.start_token_id, known.end_token_id, known.pad_token_id)
        return result

    def tokenizer(self) -> str:
        """Return the tokenizer of all encoders in the layout of the library tokenizers, JSON."""
        known = self.preprocessor.clip_l_preprocessor.tokenizer
        known.tokenize("")  # which makes the library's, where nothing has been asked yet
        return known._tokenizer.to_str()  # type: ignore[no-any-return]


def is_preset(path: Path) -> bool:
    """Return whether a path is a folder of such a preset, or the name of a published one."""
    if path.is_dir():
        try:
            return json.loads((path / "config.json").read_bytes()).get("class_name") == KIND
        except (OSError, ValueError, AttributeError):
            return False
    return path.name == str(path) and path.name.startswith(PUBLISHED)


def load(preset: str, size: tuple[int, int] | None = None) -> StableDiffusion:
    """Return a preset, by name or from a folder, computing in float32.

    Args:
        size: height and width of pictures, in pixels; the preset's where not given.

    Raises:
        ValueError: KerasHub is not installed, the preset cannot be had, or its pictures cannot have this size.
    """
    try:
        import keras_hub
        from keras_hub.src.utils import preset_utils
    except ImportError as error:
        raise ValueError("Stable Diffusion is KerasHub's, which the extra hub brings: "
                         ".venv/bin/pip install -e '.[hub]'") from error
    try:
        config = preset_utils.load_json(preset)
        if config["class_name"] != KIND:
            raise ValueError(f"it is a {config['class_name']}, not a {KIND}")
        if config["config"].get("t5") is not None:
            raise ValueError("it has a T5 encoder, which is not taken")
        if size is not None:
            _check_size(size, config["config"])
        shape = {} if size is None else {"image_shape": (*size, 3)}
        task = keras_hub.models.TextToImage.from_preset(preset, dtype="float32", **shape)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"the preset {preset} cannot be had: {reason}") from error
    for name in ENCODERS:
        setattr(task.backbone, name, _exact(getattr(task.backbone, name)))
    return StableDiffusion(task.backbone, task.preprocessor, parts(task.backbone, task.preprocessor.sequence_length))


def parts(backbone: Any, length: int) -> dict[str, keras.Model]:
    """Return a functional model for each of PARTS, which share a backbone's weights.

    Latents are those that the diffusion works on, scaled as it has them. `encode` gives the mean of an image's latents,
    so that the same image always has the same. `step` is the noise's share times the steps that the model knows.

    Args:
        length: tokens of a text.
    """
    tokens = {name: keras.Input((length,), dtype="int32", name=tokens_of(name)) for name in ENCODERS}
    context, _, pooled, _ = backbone.encode_text_step(tokens, tokens)
    encode_text = keras.Model({tokens_of(name): value for name, value in tokens.items()},
                              {CONTEXT: context, POOLED: pooled}, name=ENCODE_TEXT)
    shape = tuple(backbone.latent_shape[1:])
    asked: dict[str, Any] = {LATENTS: keras.Input(shape, name=LATENTS), STEP: keras.Input((), name=STEP),
             CONTEXT: keras.Input(context.shape[1:], name=CONTEXT), POOLED: keras.Input(pooled.shape[1:], name=POOLED)}
    said = backbone.diffuser({"latent": asked[LATENTS], "timestep": keras.ops.reshape(asked[STEP], (-1, 1)),
                              "context": asked[CONTEXT], "pooled_projection": asked[POOLED]})
    latents = keras.Input(shape, name=LATENTS)
    picture = keras.layers.Rescaling(HALF, HALF)(backbone.decode_step(latents))
    image = keras.Input(backbone.image_shape, name=IMAGE)
    sample = backbone.vae.encoder(keras.layers.Rescaling(1 / HALF, -1)(image))
    mean = backbone.image_rescaling(sample[..., :shape[-1]])
    return {ENCODE_TEXT: encode_text, DENOISE: keras.Model(asked, {DENOISED: said}, name=DENOISE),
            DECODE: keras.Model({LATENTS: latents}, {GENERATED: picture}, name=DECODE),
            ENCODE: keras.Model({IMAGE: image}, {LATENTS: mean}, name=ENCODE)}


def tokens_of(encoder: str) -> str:
    """Return what the input of an encoder's tokens is called."""
    return f"{encoder}_tokens"


def _check_size(size: tuple[int, int], config: Mapping[str, Any]) -> None:
    """Raise ValueError where pictures do not divide into the model's patches, or into more than it knows."""
    patch = 8 * config["mmdit_patch_size"]
    most = patch * config["mmdit_position_size"]
    for side in size:
        if side % patch or not patch <= side <= most:
            raise ValueError(f"sides of its pictures are multiples of {patch} pixels, {most:,} at most, and not {side}")


def _exact(encoder: Any) -> Any:
    """Return a text encoder that computes in float32: those of presets do so in float16."""
    if encoder.compute_dtype == "float32" and encoder.weights[0].dtype == "float32":
        return encoder
    config = encoder.get_config()
    result = type(encoder).from_config({**config, "dtype": "float32"})
    result.set_weights([np.asarray(weight, np.float32) for weight in encoder.get_weights()])
    return result
