"""Data sources, and the way from them to batches of pictures. Importing this makes every source known to recipes."""
from pipelines.ingest import idx_files, image_folder, tfds_source, tfrecord
from pipelines.ingest.source import Index, Source, Split

__all__ = ["Index", "Source", "Split", "idx_files", "image_folder", "tfds_source", "tfrecord"]
