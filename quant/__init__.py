"""Blocks <-> floats, for every GGUF tensor type. Knows nothing of files, names or models."""
