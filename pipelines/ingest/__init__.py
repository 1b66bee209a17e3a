"""Data sources, and the way from them to batches of examples.

Importing this makes every source and augmentation known to recipes.
"""
from pipelines.ingest.augmentation import augment_policies, gain, noise, reverberation, spec_augment, speed, time_shift
from pipelines.ingest.index import Index, Split
from pipelines.ingest.sources import (
    array_file,
    audio_folder,
    bible,
    box_table,
    brain,
    coco,
    conll,
    dicom,
    docstrings,
    faces_in_scenes,
    gettext,
    identity_folder,
    idx_files,
    image_and_mask_folder,
    image_folder,
    image_table,
    json_lines,
    lfw_subset,
    nifti,
    nuclei,
    package_questions,
    pairs,
    parallel_text,
    prose,
    recordings,
    scikit_learn,
    series_table,
    squad,
    statsmodels_series,
    summaries,
    table_file,
    text_folder,
    text_lines,
    tfds_audio,
    tfds_source,
    tfrecord,
    ts_file,
    vader,
    voc,
    yolo,
)
from pipelines.ingest.sources.source import Source

__all__ = ["Index", "Source", "Split", "array_file", "audio_folder", "augment_policies", "bible", "box_table", "brain",
           "coco", "conll", "dicom", "docstrings", "faces_in_scenes", "gain", "gettext", "identity_folder",
           "idx_files", "image_and_mask_folder", "image_folder", "image_table", "json_lines", "lfw_subset", "nifti",
           "noise", "nuclei", "package_questions", "pairs", "parallel_text", "prose", "recordings", "reverberation",
           "scikit_learn", "series_table", "spec_augment", "speed", "squad", "statsmodels_series", "summaries",
           "table_file", "text_folder", "text_lines", "tfds_audio", "tfds_source", "tfrecord", "time_shift", "ts_file",
           "vader", "voc", "yolo"]
