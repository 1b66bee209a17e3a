"""What examples, outputs and metrics mean, one file per task. Importing this makes all of them known to recipes."""
from pipelines.tasks import (
    audio_classification,
    equivalence,
    face_recognition,
    forecasting,
    image_classification,
    instance_segmentation,
    language_model,
    object_detection,
    semantic_segmentation,
    speech_recognition,
    tabular,
    text_classification,
    translation,
)
from pipelines.tasks.task import Task

__all__ = ["Task", "audio_classification", "equivalence", "face_recognition", "forecasting", "image_classification",
           "instance_segmentation", "language_model", "object_detection", "semantic_segmentation", "speech_recognition",
           "tabular", "text_classification", "translation"]
