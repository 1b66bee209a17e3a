"""Models that read a text and write another, in two: what encodes, and one step of what decodes."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models import encoder_decoder, seq2seq, t5, translation_transformer

#: What a model's parts are; of every family alike.
Parts = seq2seq.Parts


def handed_on(settings: Mapping[str, Any], length: int | None) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of what an encoder makes of a text, by name.

    Args:
        settings: all of the builder's.
        length: tokens of a text.
    """
    if "cell" in settings:
        return {seq2seq.MEMORY: (length, None), seq2seq.KEYS: (length, None),
                **{name: (None,) for name in seq2seq.state_names(str(settings["cell"]))}}
    return {name: (length, None) for name in encoder_decoder.handed_on(int(settings["depth"]))}


def parts(model: Any) -> Parts:
    """Return the encoder and one step of the decoder of a model that translates.

    Args:
        model: of Keras 3 or tf_keras, or one that was rewritten for its export.
    """
    names = {layer.name for layer in model.layers}
    if "decoder" in names:
        return seq2seq.parts(model)
    return t5.parts(model) if "decoder_distances" in names else translation_transformer.parts(model)
