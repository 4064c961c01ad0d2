"""MiMo-V2-Flash, as transformers and as the Hub describe it."""

# fmt: off
from dataclasses import replace

from .rows import DECODER, V4, Fault, Model, Shapes

_ROPE = {kind: {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": 0.334}
         for kind, base in (("full_attention", 5000000.0), ("sliding_attention", 10000.0))}
_HUB = {"hybrid_layer_pattern": [0, 1, 1, 1, 1, 0], "swa_num_key_value_heads": 4, "swa_num_attention_heads": 4, "swa_head_dim": 32,
        "swa_v_head_dim": 16, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "partial_rotary_factor": 0.334, "rope_theta": 5000000.0,
        "swa_rope_theta": 10000.0, "sliding_window": 8, "sliding_window_size": 8, "layernorm_epsilon": 1e-5, "moe_layer_freq": [0, 1, 1, 1, 1, 1],
        "routed_scaling_factor": None}
_KEYS = Fault("reads settings as they are published, the rotary share where transformers 4 had it; wants three more layers",
              config=_HUB | {"rope_parameters": _ROPE | {"partial_rotary_factor": 0.334}}, options=("--no-nextn",))


def _predicting(shapes: Shapes) -> Shapes:
    """Three layers of multi-token prediction, as the Hub has them."""
    block = {name.removeprefix("model.layers.1."): shape for name, shape in shapes.items() if name.startswith("model.layers.1.self_attn")}
    block = {name.replace(".sinks", ".attention_sink_bias"): shape for name, shape in block.items()}
    block |= {f"{name}.weight": (64,) for name in ("input_layernorm", "pre_mlp_layernorm", "enorm", "hnorm", "final_layernorm")}
    block |= {"eh_proj.weight": (64, 128), "mlp.gate_proj.weight": (96, 64), "mlp.up_proj.weight": (96, 64), "mlp.down_proj.weight": (64, 96)}
    return {f"model.mtp.layers.{m}.{name}": shape for m in range(3) for name, shape in block.items()}


_ONE = Model("mimo2", "MiMoV2FlashForCausalLM", "qwen2", DECODER | {
        "num_hidden_layers": 6, "head_dim": 32, "v_head_dim": 16, "sliding_window": 9, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "rope_parameters": _ROPE, "attention_value_scale": 0.707,
        "layer_types": ["full_attention", *["sliding_attention"] * 4, "full_attention"]},
             float32=("e_score_correction_bias",), fault=_KEYS,
          v4=V4(drop=("layer_types", "mlp_layer_types", "rms_norm_eps", "rope_local_base_freq", "rope_scaling"), add=_HUB,
                fault=_KEYS))
ROWS = (_ONE, replace(_ONE, name="mimo2-mtp", v4=None, extra=_predicting, fault=replace(_KEYS, options=())))
