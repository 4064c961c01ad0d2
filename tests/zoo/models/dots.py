"""dots.llm1."""

# fmt: off
from .rows import DECODER, THETA, V4, Fault, Model

_SCORING = Fault("takes the gating from scoring_func, which configurations of transformers 5 do not have: experts are mixed without",
                 config={"scoring_func": "sigmoid"})

ROWS = (
    Model("dots", "Dots1ForCausalLM", "qwen2", DECODER | {
        "num_key_value_heads": 4, "head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2,
        "moe_intermediate_size": 32, "first_k_dense_replace": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
        "rope_parameters": THETA}, float32=("e_score_correction_bias",), v4=V4(add={"scoring_func": "sigmoid"}), fault=_SCORING),
)
