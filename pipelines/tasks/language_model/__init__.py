"""Language modelling: which token follows."""
from pipelines.tasks.language_model.task import LanguageModel

__all__ = ["LanguageModel"]
