"""What examples, outputs and metrics mean, one file per task. Importing this makes all of them known to recipes."""
from pipelines.tasks import (
    equivalence,
    face_recognition,
    forecasting,
    image_classification,
    instance_segmentation,
    object_detection,
    semantic_segmentation,
    tabular,
    text_classification,
)
from pipelines.tasks.task import Task

__all__ = ["Task", "equivalence", "face_recognition", "forecasting", "image_classification", "instance_segmentation",
           "object_detection",
           "semantic_segmentation", "tabular", "text_classification"]
