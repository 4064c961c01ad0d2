"""Seed-OSS."""

# fmt: off
from .rows import DECODER, THETA, V4, Model

ROWS = (
    Model("seedoss", "SeedOssForCausalLM", "llama3", DECODER | {"head_dim": 32, "rope_parameters": THETA | {"rope_theta": 1e7}}, v4=V4()),
    Model("seedoss-plain", "SeedOssForCausalLM", "llama3", DECODER | {
        "head_dim": 16, "attention_bias": False, "tie_word_embeddings": True}, "float16"),
)
