"""How detectors learn: which places answer for which box, and what their answers cost."""
