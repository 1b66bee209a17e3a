"""The proof that an artifact gives what the trained model gives: output by output, as each output's role asks for."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from etils import epy
from pydantic import BaseModel

from export.predictors import Predictor
from export.signature import Arrays, Tensor

with epy.lazy_imports():
    import numpy as np

#: Outputs for one input count as the same within this share of the largest value: float sums of batches of another size
#: differ by rounding, a state that is kept between calls by far more.
SAME = 1e-5
#: Numbers that are compared at once, one example at least.
AT_ONCE = 2**21
#: Edges of the histogram of |difference|: eight bins a decade from 1e-8 to 100.
BINS = tuple(10.0 ** (exponent / 8) for exponent in range(-64, 17))
#: An embedding agrees where the cosine with the reference is as large.
COSINE = 0.99
#: An image agrees where its root mean square error is at most this share of its peak: a PSNR of 40 decibels.
RMS_ERROR = 10 ** (-40 / 20)
#: Errors of single examples are counted in so many bins a decade, from 1e-30 to 1e30.
RESOLUTION, DECADES = 1000, 30


class Difference(BaseModel):
    """How far an output is from the reference's.

    Args:
        max, mean: of |difference| of all its numbers; of texts, 1 where they differ.
        agreement: share of examples that agree, see `Comparison`.
    """

    max: float
    mean: float
    agreement: float


class Measurement(BaseModel):
    """What an artifact is worth.

    Args:
        metrics: of its task, by name.
        drop: by how much each is worse than the trained model's.
        max_error, mean_error: of the output that is furthest from the trained model's.
        agreement: of the output that agrees least, see `Comparison`.
        compared: examples whose outputs were compared.
        order_independent: whether examples get the same outputs in another order, and twice in a row.
    """

    metrics: dict[str, float]
    drop: dict[str, float]
    max_error: float
    mean_error: float
    agreement: float
    compared: int
    order_independent: bool


class Comparison:
    """Compares outputs with a reference's, batch by batch; nothing grows with their number.

    What agrees depends on an output's role:
    - logits: the largest is at the same position of the last axis; of a single logit, the sign is the same. Where an
      example has several rows of logits, for instance one per pixel, each row counts.
    - embedding: the cosine of the last axis is at least 0.99; each row counts.
    - tokens, mask: the numbers are equal; each number counts. Texts are treated alike whatever their role.
    - image: the peak signal to noise ratio of the example is at least 40 decibels. The peak is 255 for uint8, else the
      reference's largest value.
    - all others: every number of the example is within `tolerance` of the reference's largest value.

    The reference's largest value is known after the last batch, so errors of examples are kept in a fine histogram,
    whose bins are 0.2 % wide; an example in the bin of the limit itself does not agree.

    Args:
        tensors: the outputs to compare; more in a batch are left alone.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self.count = 0
        self.histogram = np.zeros(len(BINS) - 1, np.int64)
        self._outputs = {tensor.name: _Output(tensor) for tensor in tensors}

    def add(self, outputs: Arrays, reference: Arrays) -> None:
        """Compare a batch.

        Raises:
            ValueError: an output is missing, of another shape than the reference's, or not of finite numbers.
        """
        examples = 0
        for name, output in self._outputs.items():
            values, expected = _pair(name, outputs, reference)
            examples = len(expected)
            for part in _parts(expected):
                error = output.add(values[part], expected[part])
                self.histogram += np.histogram(np.clip(error, BINS[0], BINS[-1]), BINS)[0]
        self.count += examples

    def result(self) -> dict[str, Difference]:
        """Return the difference of each output, by name. Raises ValueError where no example was compared."""
        if not self.count:
            raise ValueError("there are no examples to compare")
        return {name: output.result() for name, output in self._outputs.items()}


def compare(outputs: Arrays, reference: Arrays, tensors: Sequence[Tensor]) -> dict[str, Difference]:
    """Return the differences of outputs that fit in memory, see `Comparison`. Raises ValueError."""
    comparison = Comparison(tensors)
    comparison.add(outputs, reference)
    return comparison.result()


def worst(differences: Mapping[str, Difference]) -> Difference:
    """Return the largest errors and the smallest agreement of all outputs."""
    outputs = differences.values()
    return Difference(max=max(one.max for one in outputs), mean=max(one.mean for one in outputs),
                      agreement=min(one.agreement for one in outputs))


def order_independent(predictor: Predictor, inputs: Arrays, outputs: Arrays, seed: int = 0) -> bool:
    """Return whether examples get the same outputs when they are asked again in another order, and twice in a row.

    Args:
        inputs: examples.
        outputs: what the predictor gave for them before; only these outputs are looked at.
    """
    count = len(next(iter(inputs.values())))
    asked = np.repeat(np.random.default_rng(seed).permutation(count), 2)
    again = predictor.predict({name: np.asarray(values)[asked] for name, values in inputs.items()})
    return all(_same(np.asarray(again[name]), np.asarray(values), asked) for name, values in outputs.items())


class _Output:
    """Sums over what one output gave."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self.max = 0.0
        self.sum = 0.0
        self.numbers = 0
        self.judged = 0
        self.agreeing = 0
        #: The reference's largest value, or what an image may be at most.
        self.largest = 0.0
        self.errors = Errors()

    def add(self, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Add a batch; return |difference|."""
        if _is_text(expected):
            error = (values != expected).astype(np.float64)
            self._judge(error == 0)
        else:
            error = np.abs(np.subtract(values, expected, dtype=np.float64))
            self._agree(values, expected, error)
        self.max = max(self.max, float(error.max(initial=0.0)))
        self.sum += float(error.sum())
        self.numbers += error.size
        return error

    def result(self) -> Difference:
        share = RMS_ERROR if self.tensor.role == "image" else self.tensor.tolerance
        agreeing = self.agreeing + self.errors.within(share * self.largest)
        judged = self.judged + self.errors.count
        return Difference(max=self.max, mean=self.sum / max(self.numbers, 1), agreement=agreeing / max(judged, 1))

    def _agree(self, values: np.ndarray, expected: np.ndarray, error: np.ndarray) -> None:
        role, by_example = self.tensor.role, error.reshape(len(error), -1)
        if role == "logits":
            self._judge(_choice(values) == _choice(expected))
        elif role == "embedding":
            self._judge(cosine(values, expected) >= COSINE)
        elif role in ("tokens", "mask"):
            self._judge(error == 0)
        elif role == "image":
            self.largest = 255.0 if expected.dtype == np.uint8 else max(self.largest, _largest(expected))
            self.errors.add(np.sqrt((by_example**2).mean(axis=1)))
        else:
            self.largest = max(self.largest, _largest(expected))
            self.errors.add(by_example.max(axis=1, initial=0.0))

    def _judge(self, agrees: np.ndarray) -> None:
        self.agreeing += int(agrees.sum())
        self.judged += agrees.size


class Errors:
    """Counts errors in bins so narrow that it can be said later how many are within a limit that is not known yet."""

    def __init__(self) -> None:
        self.counts = np.zeros(2 * DECADES * RESOLUTION + 2, np.int64)

    def add(self, errors: np.ndarray) -> None:
        """Count some errors, (errors,)."""
        self.counts += np.bincount(self._bins(errors), minlength=len(self.counts))

    def within(self, limit: float) -> int:
        """Return how many errors are in the bins below the limit's."""
        return int(self.counts[:max(1, self._bins(np.array([limit]))[0])].sum())

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @staticmethod
    def _bins(errors: np.ndarray) -> np.ndarray:
        """Return 0 where there is no error at all; else the number of the error's bin, from 1 on."""
        exponents = np.log10(np.clip(errors, 10.0**-DECADES, 10.0**DECADES))
        return np.where(errors > 0, np.floor((exponents + DECADES) * RESOLUTION).astype(np.int64) + 1, 0)


def _pair(name: str, outputs: Arrays, reference: Arrays) -> tuple[np.ndarray, np.ndarray]:
    for whose, arrays in (("artifact", outputs), ("trained model", reference)):
        if name not in arrays:
            raise ValueError(f"{name}: the {whose} does not give it; it gives {', '.join(arrays) or 'nothing'}")
    values, expected = np.asarray(outputs[name]), np.asarray(reference[name])
    if values.shape != expected.shape:
        raise ValueError(f"{name}: the artifact answers {values.shape}, the trained model {expected.shape}")
    for whose, array in (("artifact", values), ("trained model", expected)):
        wrong = 0 if _is_text(array) else (~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum()
        if wrong:
            raise ValueError(f"{name}: the {whose} answers nan or infinity on {wrong} of {len(array)} examples")
    return values, expected


def _is_text(values: np.ndarray) -> bool:
    return values.dtype.kind in "OSU"


def _choice(logits: np.ndarray) -> np.ndarray:
    """Return what each row of logits chooses: the place of its largest, or whether the only one is above 0."""
    if logits.ndim < 2:
        return logits > 0
    return logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(axis=-1)


def cosine(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the cosines of rows, (..., size) to (...): 1 of two that are nothing but zeros, 0 where one alone is."""
    products = np.multiply(values, expected, dtype=np.float64).sum(axis=-1)
    lengths = np.linalg.norm(values, axis=-1).astype(np.float64) * np.linalg.norm(expected, axis=-1)
    same = (values == expected).all(axis=-1).astype(np.float64)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), same)


def _largest(values: np.ndarray) -> float:
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def _same(values: np.ndarray, expected: np.ndarray, at: np.ndarray) -> bool:
    """Return whether values are as expected, whose rows are given by their positions."""
    if _is_text(expected):
        return bool((values == expected[at]).all())
    limit = SAME * max(1.0, _largest(expected))
    return all(_furthest(values[part], expected[at[part]]) <= limit for part in _parts(values))


def _furthest(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(np.subtract(values, expected, dtype=np.float64)).max(initial=0.0))


def _parts(values: np.ndarray) -> Iterator[slice]:
    """Yield slices of the first axis, each of as many rows as are compared at once."""
    rows = max(1, AT_ONCE * len(values) // max(1, values.size))
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
