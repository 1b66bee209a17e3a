"""The places where a model can run, one file each: every one makes its form of a variant's TFLite file, with the
maker's own tools."""
