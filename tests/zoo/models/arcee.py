"""Arcee (AFM)."""

# fmt: off
from .rows import DECODER, V4, YARN, Model

ROWS = (
    Model("arcee", "ArceeForCausalLM", "llama3", DECODER | {"rope_parameters": YARN}, v4=V4()),
    Model("arcee-tied", "ArceeForCausalLM", "llama3", DECODER | {"head_dim": 32, "tie_word_embeddings": True}, "float32"),
)
