"""Text to image by models that were trained elsewhere: Stable Diffusion, out of KerasHub's presets."""
