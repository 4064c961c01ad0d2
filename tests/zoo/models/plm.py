"""PLM."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, L, Model, tensors, without

_PLM = DECODER | {"model_type": "plm", "num_key_value_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
                  "q_lora_rank": None, "rms_norm_eps": 1e-6, "hidden_act": "relu2", "rope_theta": 10000.0, "attention_bias": False,
                  "tie_word_embeddings": True}
_SHAPES = tensors(without(LLAMA_NAMES, "lm_head", "gate_proj", "self_attn") | {
    L + "self_attn.q_proj.weight": "96 hidden_size", L + "self_attn.kv_a_proj_with_mqa.weight": "40 hidden_size",
    L + "self_attn.kv_a_layernorm.weight": "32", L + "self_attn.kv_b_proj.weight": "128 32", L + "self_attn.o_proj.weight": "hidden_size 64"})

ROWS = (Model("plm", "PLMForCausalLM", "qwen2", _PLM, shapes=_SHAPES),)
