"""MiniMax-M2."""

# fmt: off
from .rows import DECODER, THETA, V4, Model

ROWS = (
    Model("minimax-m2", "MiniMaxM2ForCausalLM", "minimax-m2", DECODER | {
        "head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": THETA | {"partial_rotary_factor": 0.5}},
          float32=("e_score_correction_bias",), add={"rotary_dim": 16, "scoring_func": "sigmoid"}, v4=V4()),
)
