"""Keras models: their files, the bridge between the two libraries, models made elsewhere, the graphs that are written of them."""
