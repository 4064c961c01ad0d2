"""ruGPT-3 XL."""

# fmt: off
from .rows import DECODER, GELU, LLAMA_NAMES, Model, biases, tensors, without

_GPT = DECODER | {"model_type": "rugpt3xl", "num_key_value_heads": 4, "intermediate_size": 256, "layer_norm_eps": 1e-5, "tie_word_embeddings": True}
_NAMES = without(LLAMA_NAMES, "lm_head", "gate_proj")

ROWS = (Model("rugpt3xl", "RuGPT3XLForCausalLM", "gpt2", _GPT, tolerance=GELU, lost="comes back as a GPT-2", shapes=tensors(
    _NAMES | biases(_NAMES, "norm", "self_attn", "mlp") | {"model.embed_positions.weight": "max_position_embeddings hidden_size"})),)
