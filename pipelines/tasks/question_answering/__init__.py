"""Extractive question answering: which stretch of a text answers a question."""
from pipelines.tasks.question_answering.task import QuestionAnswering

__all__ = ["QuestionAnswering"]
