"""Mellum 2: Qwen3-MoE's blocks, most of them with sliding attention and a rotary base of its own.

Source: transformers `models/mellum`; llama.cpp `src/models/mellum.cpp`, `conversion/mellum.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern, sliding
from .qwen import NO_BIAS, QWEN3MOE

MELLUM = ArchSpec(
    "mellum", ("MellumForCausalLM",), "mellum",
    hparams=(
        *without(DECODER, "rope_parameters"), Rope(default_theta=500000.0, default_sliding_theta=10000.0), *EXPERTS,
        EXPERT_LENGTH, NO_BIAS, Fixed("norm_topk_prob", True, refuse=True),
        H("attention.sliding_window", "sliding_window", need=False),
        Computed("attention.sliding_window_pattern", sliding, "layer_types",
                 lambda kv: layer_types(pattern(4, kv)), BOOL),
        Note("the runtime turns every block by the base of those with full attention", lambda c: len({
            rope["rope_theta"] for rope in c["rope_parameters"].values() if isinstance(rope, dict)}) > 1),
        Fixed("mlp_layer_types", lambda c: ["sparse"] * c["num_hidden_layers"], refuse=True),
    ),
    tensors=QWEN3MOE.tensors, sizes=SIZES, example="JetBrains/Mellum2-12B-A2.5B-Base",
    defaults={
        "num_key_value_heads": 4, "head_dim": 128, "rms_norm_eps": 1e-6, "num_experts_per_tok": 8, "norm_topk_prob": True,
        "num_experts": lambda c: c.get("num_local_experts", 64),
        "layer_types": lambda c: ["full_attention"] * c["num_hidden_layers"],
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 500000.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
    },
)

SPECS = (MELLUM,)
