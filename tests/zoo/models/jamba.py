"""Jamba."""

# fmt: off
from .rows import DECODER, RECURRENT, Fault, Model

_JAMBA = DECODER | {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
                    "num_experts": 4, "mamba_d_state": 8}

ROWS = (
    Model("jamba", "JambaForCausalLM", "llama-spm", _JAMBA, tolerance=RECURRENT, rounded=True,
          fault=Fault("computes exp in float32, an ulp off in a hundred", keys=("blk.0.ssm_a", "blk.2.ssm_a"))),
)
