"""The training loop and what recipes can choose for it."""
from pipelines.training import autoencoder_weights, pretrained_weights, samples

__all__ = ["autoencoder_weights", "pretrained_weights", "samples"]
