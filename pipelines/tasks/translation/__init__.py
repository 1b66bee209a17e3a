"""Translation: from a text to another that says the same."""
from pipelines.tasks.translation.task import Translation

__all__ = ["Translation"]
