"""From a recipe to verified models: what runs, in what order, tracked."""
