"""Phi-3 and Phi-4."""

# fmt: off
from .rows import DECODER, LONG, THETA, V4, Model

ROWS = (
    Model("phi3", "Phi3ForCausalLM", "phi3", DECODER | {"sliding_window": 255, "original_max_position_embeddings": 256},
          v4=V4(add={"original_max_position_embeddings": 256})),
    Model("phi3-longrope", "Phi3ForCausalLM", "phi3", DECODER | {
        "max_position_embeddings": 1024, "original_max_position_embeddings": 256, "sliding_window": 2047, "rope_parameters": LONG | {
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256}},
          v4=V4(add={"original_max_position_embeddings": 256}, rope_key="type")),
    Model("phi4", "Phi3ForCausalLM", "phi4", DECODER | {
        "original_max_position_embeddings": 256, "tie_word_embeddings": True, "sliding_window": None,
        "hidden_size": 128, "rope_parameters": THETA | {"partial_rotary_factor": 0.75}}, v4=V4(add={"original_max_position_embeddings": 256})),
)
