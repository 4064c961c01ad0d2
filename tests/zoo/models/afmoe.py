"""AFMoE."""

# fmt: off
from .rows import DECODER, THETA, V4, Model

ROWS = (
    Model("afmoe", "AfmoeForCausalLM", "llama3", DECODER | {
        "num_hidden_layers": 4, "head_dim": 16, "num_dense_layers": 1, "num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1,
        "moe_intermediate_size": 32, "route_scale": 2.5, "sliding_window": 8, "mup_enabled": True, "rope_parameters": THETA},
          add={"score_func": "sigmoid", "route_norm": True, "n_group": 1, "topk_group": 1}, v4=V4()),
)
