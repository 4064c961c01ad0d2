"""GPT-NeoX."""

# fmt: off
from .rows import GELU, SMALL, Fault, Model

_KEYS = ("gptneox.rope.freq_base", "general.file_type")
_NEOX = SMALL | {"num_attention_heads": 4}
_PCT = Fault("reads rotary_pct, which transformers 5 drops of a model type that it knows; writes neither the rotary base nor the file type", config={"rotary_pct": 0.25, "model_type": "unknown"},
             keys=_KEYS)
_BASE = Fault(_PCT.converter, config={"rotary_pct": 0.5, "model_type": "unknown"}, keys=_KEYS)

ROWS = (
    Model("gptneox", "GPTNeoXForCausalLM", "neox", _NEOX, tolerance=GELU, fault=_PCT),
    Model("gptneox-serial", "GPTNeoXForCausalLM", "neox", _NEOX | {
        "use_parallel_residual": False, "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0, "partial_rotary_factor": 0.5}},
          "float16", tolerance=GELU, fault=_BASE),
)
