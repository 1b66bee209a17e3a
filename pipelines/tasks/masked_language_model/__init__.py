"""Masked language modelling: which token stands where it is hidden."""
from pipelines.tasks.masked_language_model.task import MaskedLanguageModel

__all__ = ["MaskedLanguageModel"]
