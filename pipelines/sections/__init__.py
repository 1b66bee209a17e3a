"""The sections of a recipe, one file each: what can be said about the data, the model, the training, and what ships."""
