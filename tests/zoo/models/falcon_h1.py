"""Falcon-H1."""

# fmt: off
from .rows import DECODER, RECURRENT, THETA, V4, Model

_H1 = DECODER | {"head_dim": 16, "mamba_d_ssm": 96, "mamba_n_heads": 6, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16,
                 "mamba_norm_before_gate": False, "rope_parameters": THETA | {"rope_theta": 1e6}}
_MULTIPLIERS = {"embedding_multiplier": 5.656854249492381, "lm_head_multiplier": 0.0390625, "key_multiplier": 0.125, "attention_in_multiplier": 1.5,
                "attention_out_multiplier": 0.9375, "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.23570226039551587,
                "mlp_multipliers": [0.8838834764831844, 0.5859375],
                "ssm_multipliers": [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738]}

ROWS = (
    Model("falcon-h1", "FalconH1ForCausalLM", "gpt2", _H1 | _MULTIPLIERS, v4=V4(), tolerance=RECURRENT, rounded=True,
          folded=True),
    Model("falcon-h1-norm", "FalconH1ForCausalLM", "gpt2", _H1 | {"mamba_rms_norm": True, "mamba_n_groups": 2}, "float32",
          tolerance=RECURRENT, rounded=True),
)
