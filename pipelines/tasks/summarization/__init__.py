"""Summarization: from a text to a shorter one that says what matters of it."""
from pipelines.tasks.summarization.task import Summarization

__all__ = ["Summarization"]
