"""The training loop and what recipes can choose for it."""
from pipelines.training import pretrained_weights, samples

__all__ = ["pretrained_weights", "samples"]
