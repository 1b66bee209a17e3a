"""Data sources, and the way from them to batches of pictures. Importing this makes every source and augmentation known to recipes."""
from pipelines.ingest import array_file, augment_policies, idx_files, image_folder, tfds_source, tfrecord
from pipelines.ingest.source import Index, Source, Split

__all__ = ["Index", "Source", "Split", "array_file", "augment_policies", "idx_files", "image_folder", "tfds_source", "tfrecord"]
