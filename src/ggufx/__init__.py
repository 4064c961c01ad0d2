"""ggufx: the round-trip converter between Hugging Face checkpoints and GGUF."""

__version__ = "0.1.0"
