"""Granite with sliding attention."""

# fmt: off
from .rows import DECODER, THETA, Fault, Model

_SWA = DECODER | {"attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0, "sliding_window": 16,
                  "layer_types": ["full_attention", "sliding_attention"], "rope_parameters": THETA}

ROWS = (
    Model("granite-swa", "GraniteSWAForCausalLM", "llama3", _SWA | {"layer_rope_theta": [0, 10000.0]},
          fault=Fault("does not know layer_rope_theta", keys=("granite_swa.attention.rope_pattern",))),
    Model("granitemoe-swa", "GraniteMoeSWAForCausalLM", "llama3", _SWA | {"num_local_experts": 4, "num_experts_per_tok": 2,
                                                                          "shared_intermediate_size": 48}, "float32"),
)
