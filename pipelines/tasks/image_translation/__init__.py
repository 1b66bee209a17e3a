"""Image translation: one image made of another, by pairs or without."""
from pipelines.tasks.image_translation.task import ImageTranslation

__all__ = ["ImageTranslation"]
