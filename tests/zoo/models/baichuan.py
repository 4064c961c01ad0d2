"""Baichuan."""

# fmt: off
from .rows import LLAMA_NAMES, SMALL, Fault, L, Model, tensors, without

_BAICHUAN = SMALL | {"model_type": "baichuan", "num_attention_heads": 4, "rms_norm_eps": 1e-6, "hidden_act": "silu",
                     "tie_word_embeddings": False}
_SHAPES = tensors(without(LLAMA_NAMES, "q_proj", "k_proj", "v_proj", "o_proj") | {
    L + "self_attn.W_pack.weight": "3*hidden_size hidden_size", L + "self_attn.o_proj.weight": "hidden_size hidden_size"})

ROWS = (Model("baichuan", "BaichuanForCausalLM", "llama-spm", _BAICHUAN, shapes=_SHAPES, fault=Fault("recurses without end")),)
