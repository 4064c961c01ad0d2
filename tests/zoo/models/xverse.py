"""XVERSE."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, SCORE, Fault, Model, tensors

_XVERSE = DECODER | {"model_type": "xverse", "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False}

ROWS = (Model("xverse", "XverseForCausalLM", "llama-spm-json", _XVERSE, shapes=tensors(LLAMA_NAMES),
              fault=Fault("leaves out the scores of pieces", keys=(SCORE,))),)
