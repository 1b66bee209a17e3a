"""How models that make examples are learnt: losses that say how a whole model is trained, one file each."""
