"""Data sources, and the way from them to batches of pictures. Importing this makes every source and augmentation known to recipes."""
from pipelines.ingest.augmentation import augment_policies
from pipelines.ingest.sources import array_file, idx_files, image_folder, tfds_source, tfrecord
from pipelines.ingest.sources.source import Index, Source, Split

__all__ = ["Index", "Source", "Split", "array_file", "augment_policies", "idx_files", "image_folder", "tfds_source", "tfrecord"]
