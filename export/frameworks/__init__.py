"""Models of PyTorch and JAX: as files that are read here, and asked in their own library."""
