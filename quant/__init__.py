"""Blocks <-> floats, for every GGUF tensor type. Knows nothing of files, names or models.

May import `system`: how many CPUs there are. `recipes`, which know models, are a room of their own.
"""

from .dispatch import KERNELS, SOURCES, Weights, dequantize, quantize
from .formats import BY_ID, ELEMENT_TYPES, FORMATS, QuantFormat

__all__ = ["BY_ID", "ELEMENT_TYPES", "FORMATS", "KERNELS", "SOURCES", "QuantFormat", "Weights", "dequantize", "quantize"]
