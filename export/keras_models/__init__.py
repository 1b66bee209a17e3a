"""Keras models: their files, the bridge between the two libraries, models made elsewhere, and the graphs
that are written of them."""
