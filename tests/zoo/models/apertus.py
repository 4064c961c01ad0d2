"""Apertus."""

# fmt: off
from .rows import DECODER, V4, Model

ROWS = (
    Model("apertus", "ApertusForCausalLM", "llama3", DECODER | {"rope_parameters": {
        "rope_type": "llama3", "rope_theta": 12000000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}}, v4=V4()),
)
