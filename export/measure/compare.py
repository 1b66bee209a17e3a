"""The proof that an artifact answers what the trained model answers."""
from __future__ import annotations

import dataclasses

from etils import epy
from pydantic import BaseModel

from export.predictors import IMAGE, LOGITS, Predictor

with epy.lazy_imports():
    import numpy as np

#: Two answers to one question count as the same within this share of the largest logit: float sums of batches of another size
#: differ by rounding, a state that is kept between calls by far more.
SAME = 1e-5


class Measurement(BaseModel):
    """What an artifact is worth. Metrics and drops are fractions; a drop is what the trained model has more."""

    metrics: dict[str, float]
    drop: dict[str, float]
    max_logit_error: float
    mean_logit_error: float
    top1_agreement: float
    order_independent: bool


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An artifact's answers against the reference's on the same examples.

    Args:
        max_logit_error: largest |difference| of a logit.
        mean_logit_error: mean |difference|.
        top1_agreement: share of examples with the same best class.
    """

    max_logit_error: float
    mean_logit_error: float
    top1_agreement: float


def compare(logits: np.ndarray, reference: np.ndarray) -> Comparison:
    """Compares logits (examples, classes). Raises ValueError where they are of other shapes or not numbers."""
    if logits.shape != reference.shape:
        raise ValueError(f"the artifact answers {logits.shape}, the trained model {reference.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"the artifact answers nan or infinity on {(~np.isfinite(logits)).any(axis=1).sum()} of {len(logits)} examples")
    error = np.abs(logits.astype(np.float64) - reference)
    return Comparison(float(error.max()), float(error.mean()), float((logits.argmax(1) == reference.argmax(1)).mean()))


def order_independent(predictor: Predictor, images: np.ndarray, logits: np.ndarray, seed: int = 0) -> bool:
    """Whether examples get the same answers when they are asked again in another order, and twice in a row.

    Args:
        images: raw pixels, uint8 (examples, height, width, channels).
        logits: what the predictor answered to them before.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    asked = np.repeat(order, 2)
    again = predictor.predict({IMAGE: images[asked]})[LOGITS]
    return bool(np.abs(again - logits[asked]).max() <= SAME * max(1.0, np.abs(logits).max()))
