"""Orion."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, Model, biases, tensors

_ORION = DECODER | {"model_type": "orion", "rms_norm_eps": 1e-5, "max_sequence_length": 256, "hidden_act": "silu",
                    "tie_word_embeddings": False, "attention_bias": False}

ROWS = (Model("orion", "OrionForCausalLM", "llama-spm", _ORION, shapes=tensors(LLAMA_NAMES | biases(LLAMA_NAMES, "norm"))),)
