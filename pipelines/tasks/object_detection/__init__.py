"""Object detection: what is in an image, and where."""
from pipelines.tasks.object_detection.task import ObjectDetection

__all__ = ["ObjectDetection"]
