"""TFLite files: read, edited, run and timed operator by operator. Nothing here knows Keras."""
