"""The training loop and what recipes can choose for it."""
from pipelines.training import pretrained_weights

__all__ = ["pretrained_weights"]
