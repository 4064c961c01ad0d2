"""Step 3.5 with heads of multi-token prediction, Step 3.7."""

# fmt: off
from dataclasses import replace

from .rows import OUTSIDE, SMALL, Fault, L, Model, Shapes, tensors

_STEP = SMALL | {
    "model_type": "step3p5", "num_attention_heads": 4, "num_hidden_layers": 3, "num_nextn_predict_layers": 1, "num_attention_groups": 2, "head_dim": 16,
    "sliding_window": 16, "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
    "attention_other_setting": {"attention_type": "sliding_attention", "num_attention_heads": 6, "num_attention_groups": 2, "head_dim": 16},
    "rope_theta": [5000000.0, 10000.0, 5000000.0, 10000.0], "partial_rotary_factors": [0.5, 1.0, 0.5, 1.0],
    "rope_scaling": {"rope_type": "llama3", "factor": 2.0, "original_max_position_embeddings": 128, "low_freq_factor": 1.0,
                     "high_freq_factor": 32.0}, "yarn_only_types": ["full_attention"],
    "moe_layers_enum": "1,2", "moe_every_n_layer": 1, "moe_num_experts": 4, "moe_top_k": 2, "moe_intermediate_size": 32,
    "share_expert_dim": 48, "moe_router_activation": "sigmoid", "moe_router_scaling_factor": 3.0, "norm_expert_weight": True,
    "use_moe_router_bias": True, "use_head_wise_attn_gate": True, "zero_centered": True, "sink": False, "rms_norm_eps": 1e-5,
    "swiglu_limits": [0.0, 0.0, 7.0, 0.0], "swiglu_limits_shared": [0.0, 0.0, 16.0, 0.0], "tie_word_embeddings": False}
_FULL, _SLIDING, _MTP = "range(0,num_hidden_layers,2)", "range(1,num_hidden_layers+num_nextn_predict_layers,2)", "(num_hidden_layers,)"
_ALL = "num_hidden_layers+num_nextn_predict_layers"


def _attention(heads: str) -> dict[str, str]:
    return {L + "self_attn.q_proj.weight": f"{heads}*head_dim hidden_size", L + "self_attn.o_proj.weight": f"hidden_size {heads}*head_dim",
            L + "self_attn.g_proj.weight": f"{heads} hidden_size"}


def _step(config: dict) -> Shapes:
    eye = {"vision_model.ln_pre.weight": (32,), "vit_large_projector.weight": (64, 32)} if "text_config" in config else {}
    config = config.get("text_config", {}) | config
    ff, e = "moe_intermediate_size", "moe_num_experts"
    return {**eye, **tensors(OUTSIDE)(config), **tensors({
        L + "input_layernorm.weight": "hidden_size", L + "post_attention_layernorm.weight": "hidden_size",
        L + "self_attn.k_proj.weight": "num_attention_groups*head_dim hidden_size",
        L + "self_attn.v_proj.weight": "num_attention_groups*head_dim hidden_size",
        L + "self_attn.q_norm.weight": "head_dim", L + "self_attn.k_norm.weight": "head_dim"}, b=_ALL)(config),
        **tensors(_attention("num_attention_heads"), b=_FULL)(config), **tensors(_attention("6"), b=_SLIDING)(config),
        **tensors({L + "mlp.gate_proj.weight": "intermediate_size hidden_size", L + "mlp.up_proj.weight": "intermediate_size hidden_size",
                   L + "mlp.down_proj.weight": "hidden_size intermediate_size"},
                  b="[0,*range(num_hidden_layers,num_hidden_layers+num_nextn_predict_layers)]")(config),
        **tensors({L + "moe.gate.weight": f"{e} hidden_size", L + "moe.router_bias": e, L + "moe.gate_proj.weight": f"{e} {ff} hidden_size",
                   L + "moe.up_proj.weight": f"{e} {ff} hidden_size", L + "moe.down_proj.weight": f"{e} hidden_size {ff}",
                   L + "share_expert.gate_proj.weight": "share_expert_dim hidden_size",
                   L + "share_expert.up_proj.weight": "share_expert_dim hidden_size",
                   L + "share_expert.down_proj.weight": "hidden_size share_expert_dim"}, b="range(1,num_hidden_layers)")(config),
        **tensors({L + "eh_proj.weight": "hidden_size 2*hidden_size", L + "enorm.weight": "hidden_size", L + "hnorm.weight": "hidden_size",
                   L + "transformer.shared_head.norm.weight": "hidden_size",
                   L + "transformer.shared_head.output.weight": "vocab_size hidden_size"},
                  b="range(num_hidden_layers,num_hidden_layers+num_nextn_predict_layers)")(config)}


# transformers 5 has other settings; it does not look at a kind of model, and of scaling, that it does not know, and
# wants as many layers as types of them.
_FAULT = Fault("reads settings by transformers, which knows others than the Hub has", config={
    "model_type": "step", "n_layers": 3, "num_hidden_layers": 4, "rope_scaling": _STEP["rope_scaling"] | {"rope_type": "LLAMA3"}})
_PLAIN = _STEP | {"num_nextn_predict_layers": 0, "rope_scaling": None} | {name: _STEP[name][:3] for name in (
    "layer_types", "rope_theta", "partial_rotary_factors", "swiglu_limits", "swiglu_limits_shared")}
ROWS = (
    Model("step35", "Step3p5ForCausalLM", "deepseek3", _STEP, float32=("router_bias",), shapes=_step, fault=_FAULT),
    Model("step37", "Step3p7ForConditionalGeneration", "deepseek3", {"model_type": "step3p7", "text_config": _PLAIN, "vision_config": {}},
          float32=("router_bias",), shapes=_step, fault=replace(_FAULT, config={"model_type": "step"})),
)
