"""Models that draw codes, one after the other, and make a picture of them: VQ-VAE."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import DEFAULT, Arrays, Function, Signature, Tensor
from models import vqvae
from models.outputs import library_of
from models.vqvae import CODEBOOK, CODES, LOCATION, LOG_SCALE, LOGITS_OF_CODES, QUANTIZED, VECTORS
from pipelines.tasks.evaluation import Evaluation, Figure
from pipelines.tasks.image_generation.autoencoding import bits_of_pixels, with_bits
from pipelines.tasks.image_generation.making import IMAGE, NOISE, predicted, said_by_part, served
from pipelines.tasks.image_generation.measure import COLUMNS, CONDITION, GENERATED, draw, levels
from pipelines.training.learners.quantizing import nearest

with epy.lazy_imports():
    import numpy as np
    import scipy.special
    import tensorflow as tf

if TYPE_CHECKING:
    from export.predictors import Predictor
    from pipelines.ingest.data import Data
    from pipelines.ingest.index import Index

#: Beside the usual signature, which encodes: from codes to the logits of each, and from codes to the picture.
PRIOR, DECODE = "prior", "decode"


class Coded:
    """An image is a map of codes; noise says which code is drawn at each place.

    Args:
        settings: the builder's.
    """

    def __init__(self, settings: Mapping[str, Any]):
        self.codes = int(settings["codes"])
        self.size = int(settings["size"])

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        rows, columns = (int(side or 0) // 2 ** vqvae.STEPS for side in index.inputs[IMAGE].shape[:2])
        return (Tensor(name=VECTORS, dtype="float32", shape=(rows, columns, self.size),
                       meaning="the nearest vectors of the codebook are the image's codes"),)

    def signature(self, index: Index) -> Signature:
        image = index.inputs[IMAGE].model_copy(update={"dtype": "float32"})
        return Signature(inputs=(image,), outputs=self.outputs(index))

    def answer(self, predictor: Predictor, inputs: Arrays) -> dict[str, np.ndarray]:
        said = {}
        if IMAGE in inputs:
            # a server takes no other type than the signature's
            said[VECTORS] = predicted(predictor, {**inputs, IMAGE: inputs[IMAGE].astype(np.float32)})[VECTORS]
        pictures = served(predictor, inputs)
        if pictures is None:
            codes = self.drawn(predictor, inputs[NOISE], inputs.get(CONDITION))
            pictures = said_by_part(predictor, DECODE, {CODES: codes})[GENERATED]
        return {**said, GENERATED: pictures}

    def drawn(self, predictor: Predictor, noise: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        """Return codes that are drawn one after the other, int32 (batch, places).

        Args:
            noise: (batch, places); the share of normal numbers below one says how far along the codes' probabilities,
                added up, the one lies that is drawn.
        """
        chances = scipy.special.ndtr(noise.astype(float))
        codes = np.zeros(noise.shape, np.int32)
        asked = {} if condition is None else {CONDITION: condition}
        for place in range(noise.shape[1]):
            logits = said_by_part(predictor, PRIOR, {CODES: codes, **asked})[LOGITS_OF_CODES][:, place].astype(float)
            ends = np.cumsum(scipy.special.softmax(logits, axis=1), axis=1)
            codes[:, place] = np.minimum((ends < chances[:, place, None]).sum(axis=1), self.codes - 1)
        return codes

    def functions(self, model: Any, data: Data) -> list[Function]:
        index, parts = data.index, _Calls(model)
        signature = self.signature(index)
        places = Tensor(name=CODES, dtype="int32", shape=index.inputs[NOISE].shape, role="tokens",
                        meaning=f"row by row, 0 to {self.codes - 1}")
        likely = Tensor(name=LOGITS_OF_CODES, dtype="float32", shape=(*index.inputs[NOISE].shape, self.codes),
                        role="logits", meaning="of the code at each place, by those before it")
        picture = Tensor(name=GENERATED, dtype="float32", shape=index.inputs[IMAGE].shape, role="image",
                         meaning="pixels 0..255, to be rounded")
        asked = (places, *(index.inputs[name] for name in (CONDITION,) if name in index.inputs))
        return [Function(signature, lambda **tensors: parts.encode(tensors[IMAGE])),
                Function(Signature(name=PRIOR, inputs=asked, outputs=(likely,)),
                         lambda **tensors: parts.prior(tensors)),
                Function(Signature(name=DECODE, inputs=(places,), outputs=(picture,)),
                         lambda **tensors: parts.decode(tensors[CODES]))]

    def in_graph(self, model: Any, data: Data) -> Callable[[Mapping[str, Any]], Any]:
        parts = _Calls(model)

        def make(inputs: Mapping[str, Any]) -> Any:
            noise = inputs[NOISE]
            places = noise.shape[1]
            chances = 0.5 * (1 + tf.math.erf(noise / math.sqrt(2)))
            asked = {name: value for name, value in inputs.items() if name == CONDITION}

            def step(place: Any, codes: Any) -> tuple[Any, Any]:
                logits = parts.prior({CODES: codes, **asked})[LOGITS_OF_CODES][:, place]
                ends = tf.cumsum(tf.nn.softmax(logits), axis=1)
                passed = tf.reduce_sum(tf.cast(ends < chances[:, place, None], tf.int32), axis=1)
                chosen = tf.minimum(passed, self.codes - 1)
                return place + 1, codes + chosen[:, None] * tf.one_hot(place, places, dtype=tf.int32)

            begin = (tf.constant(0), tf.zeros([tf.shape(noise)[0], places], tf.int32))
            _, codes = tf.while_loop(lambda place, _: place < places, step, begin)
            return parts.decode(codes)[GENERATED]

        return make

    def settings(self, index: Index) -> tuple[Tensor, ...]:
        return ()

    def driver(self) -> dict[str, Any] | None:
        return {"kind": "codes", "codes": self.codes}

    def calibration(self, inputs: Arrays, load: Callable[[], Any]) -> list[tuple[str, Arrays]]:
        """Return training images, and their codes."""
        image = inputs[IMAGE].astype(np.float32)
        model = load()
        said = vqvae.parts(model).encoder.predict(image, verbose=0)[VECTORS]
        codes = nearest(tf.constant(said), tf.convert_to_tensor(model.get_layer(CODEBOOK).embeddings)).numpy()
        asked = {CONDITION: inputs[CONDITION]} if CONDITION in inputs else {}
        return [(DEFAULT, {IMAGE: image}), (PRIOR, {CODES: codes, **asked}), (DECODE, {CODES: codes})]

    def completed(self, evaluation: Evaluation, predictor: Predictor, data: Data, folder: Path) -> Evaluation:
        """Return the evaluation with the bits of the test images and of their codes, and a figure of images made
        again."""
        total, count, used = 0.0, 0, np.zeros(self.codes, bool)
        for inputs, _ in data.batches("test"):
            codes, made = self._again(predictor, inputs)
            likely = scipy.special.log_softmax(made[LOGITS_OF_CODES].astype(float), axis=-1)
            of_codes = -np.take_along_axis(likely, codes[..., None].astype(int), -1).sum(axis=(1, 2))
            numbers = math.log(2) * math.prod(inputs[IMAGE].shape[1:])
            total += float((bits_of_pixels(inputs[IMAGE], made) + of_codes / numbers).sum())
            count += len(codes)
            used[np.unique(codes)] = True
        few, _ = data.arrays("test", COLUMNS)
        _, made = self._again(predictor, few)
        draw(np.concatenate([few[IMAGE], levels(made[GENERATED])]), folder / "again.png", len(few[IMAGE]))
        figure = Figure(file="again.png", caption="Test images, and below them what is made of their codes")
        result = with_bits(evaluation, total / count)
        return result.model_copy(update={
            "figures": [*result.figures, figure],
            "remarks": [*result.remarks, f"{used.sum()} of {self.codes} codes used"]})

    def _again(self, predictor: Predictor, inputs: Arrays) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the codes of images, and what the whole model says of them."""
        table = self._table(predictor, inputs)
        codes = nearest(tf.constant(predictor.predict(inputs)[VECTORS]), tf.constant(table)).numpy()
        made = predictor.predict({**inputs, CODES: codes})
        return codes, {name: made[name] for name in (LOCATION, LOG_SCALE, LOGITS_OF_CODES, GENERATED)}

    def _table(self, predictor: Predictor, inputs: Arrays) -> np.ndarray:
        """Return the codebook, (codes, size), as the model looks its numbers up."""
        places = inputs[CODES].shape[1]
        rows = -(-self.codes // places)
        numbers = np.minimum(np.arange(rows * places), self.codes - 1).reshape(rows, places).astype(np.int32)
        some = {name: np.repeat(values[:1], rows, axis=0) for name, values in inputs.items()}
        found = predictor.predict({**some, CODES: numbers})[QUANTIZED]
        return found.reshape(-1, self.size)[:self.codes]


class _Calls:
    """The parts of a model as functions in a graph."""

    def __init__(self, model: Any):
        library = library_of(model)
        parts = vqvae.parts(model)
        self._encoder, self._prior = parts.encoder, parts.prior
        self._decoder = library.Model(model.input[CODES], {GENERATED: model.output[GENERATED]})

    def encode(self, image: Any) -> dict[str, Any]:
        return {VECTORS: self._encoder(tf.cast(image, tf.float32), training=False)[VECTORS]}

    def prior(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        asked = {name: inputs[name] for name in (CODES, CONDITION) if name in inputs}
        return {LOGITS_OF_CODES: self._prior(asked, training=False)[LOGITS_OF_CODES]}

    def decode(self, codes: Any) -> dict[str, Any]:
        return {GENERATED: self._decoder(codes, training=False)[GENERATED]}
