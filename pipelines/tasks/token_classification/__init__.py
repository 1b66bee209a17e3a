"""Token classification: a tag for each word of a text."""
from pipelines.tasks.token_classification.task import TokenClassification

__all__ = ["TokenClassification"]
