"""DBRX."""

# fmt: off
from .rows import THETA, Model

ROWS = (
    Model("dbrx", "DbrxForCausalLM", "phi4", {
        "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 256, "rope_parameters": THETA | {"rope_theta": 500000.0},
        "attn_config": {"clip_qkv": 1.5, "kv_n_heads": 2, "rope_theta": 500000.0},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2}}),
)
