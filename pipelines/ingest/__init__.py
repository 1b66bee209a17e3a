"""Data sources, and the way from them to batches of pictures. Importing this makes every source and augmentation known to recipes."""
from pipelines.ingest import augment_policies, idx_files, image_folder, tfds_source, tfrecord
from pipelines.ingest.source import Index, Source, Split

__all__ = ["Index", "Source", "Split", "augment_policies", "idx_files", "image_folder", "tfds_source", "tfrecord"]
