"""MiMo-V2-Flash, as transformers and as the Hub describe it; V2.5, whose queries, keys and values are fused."""

# fmt: off
from dataclasses import replace

from .rows import DECODER, OUTSIDE, V4, Fault, L, Model, Shapes, tensors

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

# -- V2.5 -----------------------------------------------------------------------------------------------------------

_SLIDES = [0, 1, 1, 0]
_V25 = {"model_type": "mimo_v2", "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16, "v_head_dim": 8, "max_position_embeddings": 256,
        "hybrid_layer_pattern": _SLIDES, "moe_layer_freq": [0, 1, 1, 1], "swa_num_attention_heads": 8, "swa_num_key_value_heads": 8,
        "swa_head_dim": 16, "swa_v_head_dim": 8, "sliding_window": 9, "sliding_window_size": 8, "layernorm_epsilon": 1e-5,
        "rope_theta": 5000000.0, "swa_rope_theta": 10000.0, "partial_rotary_factor": 0.5, "attention_value_scale": 0.707,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": None, "attention_bias": False,
        "add_swa_attention_sink_bias": True, "add_full_attention_sink_bias": False, "hidden_act": "silu", "tie_word_embeddings": False,
        "attention_projection_layout": "fused_qkv"}
_EACH = {f"{L}{name}_layernorm.weight": "hidden_size" for name in ("input", "post_attention")} | {
    L + "self_attn.o_proj.weight": "hidden_size num_attention_heads*v_head_dim"}
_DENSE = {f"{x}_proj.weight": "intermediate_size hidden_size" for x in ("gate", "up")} | {"down_proj.weight": "hidden_size intermediate_size"}
_MOE = {"gate.weight": "n_routed_experts hidden_size", "gate.e_score_correction_bias": "n_routed_experts"} | {
    f"experts.{{e}}.{name}": shape.replace("inter", "moe_inter") for name, shape in _DENSE.items()}
_ROWS = {n: f"num_attention_heads*head_dim+{heads}*(head_dim+v_head_dim)"
         for n, heads in enumerate(("num_key_value_heads", "swa_num_key_value_heads"))}


def _v25(config: dict) -> Shapes:
    out = tensors(OUTSIDE | _EACH)(config)
    for b, (local, sparse) in enumerate(zip(config["hybrid_layer_pattern"], config["moe_layer_freq"], strict=True)):
        own = {"self_attn.qkv_proj.weight": _ROWS[local] + " hidden_size"} | ({"self_attn.attention_sink_bias": "num_attention_heads"} if local else {})
        own |= {f"mlp.{name}": shape for name, shape in (_MOE if sparse else _DENSE).items()}
        out |= tensors({f"model.layers.{b}.{name}": shape for name, shape in own.items()}, e="n_routed_experts")(config)
    return out


def _v25_predicting(shapes: Shapes) -> Shapes:
    block = {name.removeprefix("model.layers.1."): shape for name, shape in shapes.items() if name.startswith("model.layers.1.self_attn")}
    block |= {f"{name}.weight": (64,) for name in ("input_layernorm", "pre_mlp_layernorm", "enorm", "hnorm", "final_layernorm")}
    block |= {"eh_proj.weight": (64, 128), "mlp.gate_proj.weight": (96, 64), "mlp.up_proj.weight": (96, 64), "mlp.down_proj.weight": (64, 96)}
    return {f"model.mtp.layers.{m}.{name}": shape for m in range(3) for name, shape in block.items()}


_QKV = tuple(f"blk.{b}.attn_qkv.weight" for b in range(4))
_PRO = Model("mimo25", "MiMoV2ForCausalLM", "qwen2", _V25, shapes=_v25, float32=("e_score_correction_bias",),
             fault=Fault("leaves rows by GPU as they stand where no FP8 blocks tell", options=("--no-nextn",), keys=_QKV))
# Pro: as many GPUs as key-value heads in every block, and three layers of multi-token prediction.
_FP8 = {"qkv_proj.weight": 4, **{f"{x}_proj.weight": 1 for x in ("gate", "up", "down")}}
_NO_PEFT = "its weights are in FP8"
_QUANTIZED = {"quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}}
ROWS += (
    _PRO,
    replace(_PRO, name="mimo25-fp8", config=_V25 | _QUANTIZED, fp8=_FP8, unadapted=_NO_PEFT, fault=Fault("wants three more layers", options=("--no-nextn",))),
    replace(_PRO, name="mimo25-pro", config=_V25 | _QUANTIZED | {"num_attention_heads": 16, "swa_num_attention_heads": 16, "num_key_value_heads": 8},
            fp8=_FP8 | {"qkv_proj.weight": 8}, unadapted=_NO_PEFT, extra=_v25_predicting, fault=Fault()),
    replace(_PRO, name="mimo25-parts", config=_V25 | {"vision_config": {"hidden_size": 64}, "audio_config": {"group_size": 4}}, shapes=lambda config: _v25(config) | {
        "visual.merger.ln_q.weight": (64,), "audio_encoder.input_local_transformer.norm.weight": (64,), "speech_embeddings.0.weight": (8, 64)}),
)
