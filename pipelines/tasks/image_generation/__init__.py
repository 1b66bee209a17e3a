"""Image generation: pictures out of noise, of any kind or of a class that is asked for."""
from pipelines.tasks.image_generation.task import ImageGeneration

__all__ = ["ImageGeneration"]
