"""Baichuan."""

# fmt: off
from .rows import SMALL, Fault, Model, tensors

_BAICHUAN = SMALL | {"model_type": "baichuan", "num_attention_heads": 4, "rms_norm_eps": 1e-6, "hidden_act": "silu",
                     "tie_word_embeddings": False}
_L = "model.layers.{b}."
_SHAPES = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    "model.norm.weight": "hidden_size", _L + "input_layernorm.weight": "hidden_size",
    _L + "post_attention_layernorm.weight": "hidden_size",
    _L + "self_attn.W_pack.weight": "3*hidden_size hidden_size", _L + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size"})

ROWS = (Model("baichuan", "BaichuanForCausalLM", "llama-spm", _BAICHUAN, shapes=_SHAPES, fault=Fault("recurses without end")),)
