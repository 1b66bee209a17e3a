"""Data sources, and the way from them to batches of examples.

Importing this makes every source and augmentation known to recipes.
"""
from pipelines.ingest.augmentation import (
    augment_policies,
    gain,
    noise,
    packed,
    reverberation,
    spec_augment,
    speed,
    time_shift,
)
from pipelines.ingest.index import Index, Split
from pipelines.ingest.sources import (
    array_file,
    audio_folder,
    bible,
    box_table,
    brain,
    coco,
    conll,
    conversations,
    dicom,
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
    parallel_text,
    questions,
    recordings,
    scikit_learn,
    series_table,
    statsmodels_series,
    table_file,
    text_folder,
    text_lines,
    text_shards,
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
           "coco", "conll", "conversations", "dicom", "faces_in_scenes", "gain", "gettext", "identity_folder",
           "idx_files", "image_and_mask_folder", "image_folder", "image_table", "json_lines", "lfw_subset", "nifti",
           "noise", "nuclei", "packed", "parallel_text", "questions", "recordings", "reverberation", "scikit_learn",
           "series_table", "spec_augment", "speed", "statsmodels_series", "table_file", "text_folder", "text_lines",
           "text_shards", "tfds_audio", "tfds_source", "tfrecord", "time_shift", "ts_file", "vader", "voc", "yolo"]
