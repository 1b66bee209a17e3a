"""Artifacts compared with the trained model, and timed here, on a phone, on an emulated processor."""
