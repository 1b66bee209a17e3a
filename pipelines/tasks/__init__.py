"""What examples, outputs and metrics mean, one file per task. Importing this makes all of them known to recipes."""
from pipelines.tasks import (
    anomaly_detection,
    audio_classification,
    equivalence,
    face_recognition,
    forecasting,
    image_classification,
    image_generation,
    instance_segmentation,
    instruction_tuning,
    language_model,
    masked_language_model,
    object_detection,
    question_answering,
    semantic_segmentation,
    sentence_embedding,
    sentence_pair_classification,
    series_classification,
    speech_recognition,
    summarization,
    tabular,
    text_classification,
    token_classification,
    translation,
)
from pipelines.tasks.task import Task

__all__ = ["Task", "anomaly_detection", "audio_classification", "equivalence", "face_recognition", "forecasting",
           "image_classification", "image_generation", "instance_segmentation", "instruction_tuning", "language_model",
           "masked_language_model", "object_detection", "question_answering", "semantic_segmentation",
           "sentence_embedding", "sentence_pair_classification", "series_classification", "speech_recognition",
           "summarization", "tabular", "text_classification", "token_classification", "translation"]
