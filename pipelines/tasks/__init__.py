"""What examples, outputs and metrics mean, one file per task."""
