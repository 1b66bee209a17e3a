"""From a graph to TFLite files in every precision."""
