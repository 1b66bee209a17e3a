"""The token that stands for one that is hidden: its number is the one behind those that begin and end texts."""
MASK, MASK_NAME = 4, "<MASK>"
