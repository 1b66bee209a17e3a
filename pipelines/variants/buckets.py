"""The variant of an encoder of texts with a signature for each of some lengths: a short text takes less time."""
from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Annotated

from etils import epy
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from export.conversion import convert
from export.keras_models import graph
from export.keras_models.shortened import shortened
from export.predictors.bucketed import UP_TO, sizes
from export.signature import Function, Signature
from pipelines.variants.encoded import CALIBRATED, Encoded
from pipelines.variants.variant import VariantContext

with epy.lazy_imports():
    import keras
    import numpy as np

#: Texts whose answers are held against those of the whole length, and how far they may be off, as a share of the
#: largest value.
HELD, ALLOWED = 32, 1e-4


class Buckets(Encoded, name="buckets", shorthand="lengths"):
    """Encoders of texts with a signature for each of some lengths, so that a short text takes less time.

    The signatures are called `up_to_32` and so on; the usual one is for all others. Weights are stored once. It is for
    models that read a text as a whole, whatever padding is behind it, as BERT does. A bare list means `lengths`.

    Args:
        lengths: tokens of the signatures for shorter texts.
        encode: how its numbers are written.
        calibration: the examples that ranges are found with; those of compress.calibration where not given.
    """

    lengths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32)

    @field_validator("lengths")
    @classmethod
    def in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise PydanticCustomError("lengths", "must be different lengths")
        return tuple(sorted(value))

    @property
    def summary(self) -> str:
        return f"texts of up to {' and '.join(map(str, self.lengths))} tokens read by themselves; {super().summary}"

    def content(self, context: VariantContext) -> bytes:
        model = context.load()
        whole = self._signature(context, model)
        self._check(context, model, whole)
        folder = context.folder / "buckets"
        shutil.rmtree(folder, ignore_errors=True)

        def functions(one: keras.Model) -> Sequence[Function]:
            return [*context.functions(one), *(graph.function(shortened(one, length), _shorter(whole, length))
                                               for length in self.lengths)]

        convert.float_graph(model, functions, folder)
        context.details["lengths"] = list(self.lengths)
        if self.encode not in CALIBRATED:
            return convert.convert(folder, self.encode)
        name = whole.inputs[0].name
        tokens = context.inputs(self.calibration)[name]
        calibration = [(whole.name, {name: tokens}), *((f"{UP_TO}{length}", {name: _cut(tokens, length)})
                                                       for length in self.lengths)]
        return (context.int8(folder, calibration) if self.encode == "int8"
                else convert.convert(folder, self.encode, calibration))

    def _signature(self, context: VariantContext, model: keras.Model) -> Signature:
        """Return the signature of whole texts. Raises ValueError where the model has another one, or gives something
        for each token."""
        signatures = [function.signature for function in context.functions(model)]
        (tokens, *others), outputs = signatures[0].inputs, signatures[0].outputs
        if len(signatures) > 1 or others or tokens.role != "tokens" or len(tokens.shape) != 1 or len(outputs) != 1:
            raise ValueError("buckets are for models that take the tokens of one text, and give one answer; leave it "
                             "out")
        whole = int(tokens.shape[0] or 0)
        if self.lengths[-1] >= whole:
            raise ValueError(f"buckets: lengths are those of shorter texts than the longest, {whole} tokens (data."
                             f"{tokens.name}.length), and one is {self.lengths[-1]}")
        return signatures[0]

    def _check(self, context: VariantContext, model: keras.Model, whole: Signature) -> None:
        """Raise ValueError where a text has another answer with less padding behind it: the model looks at it."""
        name = whole.inputs[0].name
        tokens = context.validation(HELD)[0][name]
        for length in self.lengths:
            short = _cut(tokens, length)
            padded = np.pad(short, [(0, 0), (0, tokens.shape[1] - length)])
            expected, answers = _answers(model, padded), _answers(shortened(model, length), short)
            if expected.shape != answers.shape:
                raise ValueError(f"buckets: {model.name} gives something for each token, {expected.shape[1:]}; they "
                                 "are for models that answer of a whole text")
            off = float(np.abs(answers - expected).max())
            if not off <= ALLOWED * float(np.abs(expected).max()):
                raise ValueError(f"buckets: {model.name} answers otherwise where a text has less padding behind it, "
                                 f"off by {off:.1e}; they are for encoders that look at tokens alone, as bert does")


def _shorter(signature: Signature, length: int) -> Signature:
    """Return the signature of texts of so many tokens."""
    tokens = signature.inputs[0].model_copy(update={"shape": (length,)})
    return signature.model_copy(update={"name": f"{UP_TO}{length}", "inputs": (tokens,)})


def _cut(tokens: np.ndarray, length: int) -> np.ndarray:
    """Return the texts that have so many tokens at most, and some; the beginnings of all where there is none, (texts,
    length)."""
    fitting = (sizes(tokens) <= length) & (sizes(tokens) > 0)
    return (tokens[fitting] if fitting.any() else tokens)[:, :length]


def _answers(model: keras.Model, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(keras.tree.flatten(model.predict(tokens, verbose=0))[0])
