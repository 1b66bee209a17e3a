"""The modalities, one file each: how a named part of an example is read, decoded, drawn and shipped.

Importing this makes all of them known.
"""
from pipelines.features import (
    array,
    audio,
    boxes,
    category,
    codes,
    condition,
    conversation,
    diffusion_step,
    image,
    instances,
    label,
    mask,
    masked_text,
    noise,
    number,
    outcome,
    pair_text,
    picture,
    question,
    running_text,
    scan,
    series,
    series_name,
    tags,
    target_image,
    text,
    transcript,
    translated_text,
)
from pipelines.features.feature import Feature, Field, Learnt

__all__ = ["Feature", "Field", "Learnt", "array", "audio", "boxes", "category", "codes", "condition", "conversation",
           "diffusion_step", "image", "instances", "label", "mask", "masked_text", "noise", "number", "outcome",
           "pair_text", "picture", "question", "running_text", "scan", "series", "series_name", "tags", "target_image",
           "text", "transcript", "translated_text"]
