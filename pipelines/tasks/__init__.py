"""What examples, outputs and metrics mean, one file per task. Importing this makes all of them known to recipes."""
from pipelines.tasks import (
    anomaly_detection,
    audio_classification,
    equivalence,
    face_recognition,
    forecasting,
    image_classification,
    instance_segmentation,
    instruction_tuning,
    language_model,
    object_detection,
    semantic_segmentation,
    series_classification,
    speech_recognition,
    tabular,
    text_classification,
    token_classification,
    translation,
)
from pipelines.tasks.task import Task

__all__ = ["Task", "anomaly_detection", "audio_classification", "equivalence", "face_recognition", "forecasting",
           "image_classification", "instance_segmentation", "instruction_tuning", "language_model", "object_detection",
           "semantic_segmentation", "series_classification", "speech_recognition", "tabular", "text_classification",
           "token_classification", "translation"]
