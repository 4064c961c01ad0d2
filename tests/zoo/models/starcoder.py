"""StarCoder and StarCoder 2."""

# fmt: off
from .rows import DECODER, GELU, THETA, V4, Model

_BIGCODE = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}

ROWS = (
    Model("starcoder", "GPTBigCodeForCausalLM", "gpt2", _BIGCODE, tolerance=GELU, v4=V4()),
    Model("starcoder-untied", "GPTBigCodeForCausalLM", "gpt2", _BIGCODE | {"tie_word_embeddings": False}, "float16", tolerance=GELU),
    Model("starcoder2", "Starcoder2ForCausalLM", "gpt2", DECODER | {"rope_parameters": THETA | {"rope_theta": 1e6}}, tolerance=GELU, v4=V4()),
    Model("starcoder2-untied", "Starcoder2ForCausalLM", "gpt2", DECODER | {"tie_word_embeddings": False}, "float32", tolerance=GELU),
)
