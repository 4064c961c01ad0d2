"""HRM-Text."""

# fmt: off
from .rows import SMALL, Model

_HRM = SMALL | {"num_attention_heads": 4, "head_dim": 16, "H_cycles": 1, "L_cycles": 2, "num_layers_per_stack": 2, "num_hidden_layers": 6,
                "embedding_scale": 8.0, "prefix_lm": False}

ROWS = (Model("hrm-text", "HrmTextForCausalLM", "gpt2", _HRM),)
