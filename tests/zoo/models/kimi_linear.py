"""Kimi Linear, as transformers 5 saves it and as the Hub has it."""

# fmt: off
from .rows import RECURRENT, SMALL, V4, Fault, Model

_PUBLISHED = V4(drop=("layer_types", "mlp_layer_types", "linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim", "qk_head_dim"), add={
    "linear_attn_config": {"full_attn_layers": [2, 4], "kda_layers": [1, 3], "head_dim": 16, "num_heads": 4, "short_conv_kernel_size": 4},
    "first_k_dense_replace": 1, "head_dim": 16, "moe_layer_freq": 1, "moe_router_activation_func": "sigmoid", "mla_use_nope": True,
    "use_grouped_topk": True, "num_nextn_predict_layers": 0, "rope_scaling": None, "rope_theta": 10000.0},
    rename=lambda name: name.replace("layers.0.block_sparse_moe.", "layers.0.mlp."))

ROWS = (
    Model("kimi-linear", "KimiLinearForCausalLM", "kimi-k2", SMALL | {
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8, "v_head_dim": 16, "linear_head_dim": 16, "linear_num_heads": 4, "num_local_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 48, "layer_types": ["linear_attention", "full_attention"] * 2},
          float32=("e_score_correction_bias", "A_log", "dt_bias"), v4=_PUBLISHED, tolerance=RECURRENT, rounded=True,
          fault=Fault("knows the Hub's config.json alone, and not the name under which transformers 5 saves the dense block")),
)
