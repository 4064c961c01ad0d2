"""Kimi K3."""

# fmt: off
from typing import Any

from .rows import OUTSIDE, SMALL, Fault, L, Model, Shapes, tensors

_A, _M = L + "self_attn.", L + "block_sparse_moe."
_INNER, _HEADS = "num_attention_heads*16", "num_attention_heads"  # the head length of delta attention
_K3 = SMALL | {
    "model_type": "kimi_linear", "vocab_size": 425, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1,
    "moe_intermediate_size": 32, "routed_expert_hidden_size": 48, "first_k_dense_replace": 1, "moe_layer_freq": 1, "routed_scaling_factor": 2.5,
    "moe_renormalize": True, "moe_router_activation_func": "sigmoid", "num_expert_group": 1, "topk_group": 1, "hidden_act": "situ",
    "activation_situ_beta": 4.0, "activation_situ_linear_beta": 8.0, "attn_res_block_size": 2, "mla_use_nope": True, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "linear_attn_config": {
        "full_attn_layers": [2, 4], "kda_layers": [1, 3], "head_dim": 16, "num_heads": 4, "short_conv_kernel_size": 4, "gate_lower_bound": -5.0}}
_BLOCK = {
    **{f"{L}{n}.weight": "hidden_size" for n in ("input_layernorm", "post_attention_layernorm", "self_attention_res_norm", "mlp_res_norm")},
    **{f"{L}{n}.weight": "1 hidden_size" for n in ("self_attention_res_proj", "mlp_res_proj")}}
_DELTA = {
    **{f"{_A}{p}_proj.weight": f"{_INNER} hidden_size" for p in "qkvg"}, **{f"{_A}{p}_conv1d.weight": f"{_INNER} 1 4" for p in "qkv"},
    _A + "f_a_proj.weight": "16 hidden_size", _A + "f_b_proj.weight": f"{_INNER} 16", _A + "b_proj.weight": f"{_HEADS} hidden_size",
    _A + "A_log": _HEADS, _A + "dt_bias": _INNER, _A + "o_norm.weight": "16", _A + "o_proj.weight": f"hidden_size {_INNER}"}
_LATENT = {
    _A + "q_a_proj.weight": "q_lora_rank hidden_size", _A + "q_a_layernorm.weight": "q_lora_rank",
    _A + "q_b_proj.weight": f"{_HEADS}*(qk_nope_head_dim+qk_rope_head_dim) q_lora_rank", _A + "kv_a_layernorm.weight": "kv_lora_rank",
    _A + "kv_a_proj_with_mqa.weight": "kv_lora_rank+qk_rope_head_dim hidden_size",
    _A + "kv_b_proj.weight": f"{_HEADS}*(qk_nope_head_dim+v_head_dim) kv_lora_rank",
    _A + "g_proj.weight": f"{_HEADS}*v_head_dim hidden_size", _A + "o_proj.weight": f"hidden_size {_HEADS}*v_head_dim"}
_MLP = {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_SPARSE = {
    _M + "gate.weight": "num_experts hidden_size", _M + "gate.e_score_correction_bias": "num_experts",
    _M + "experts.{e}.w1.weight": "moe_intermediate_size 48", _M + "experts.{e}.w3.weight": "moe_intermediate_size 48",
    _M + "experts.{e}.w2.weight": "48 moe_intermediate_size", _M + "routed_expert_down_proj.weight": "48 hidden_size",
    _M + "routed_expert_up_proj.weight": "hidden_size 48", _M + "routed_expert_norm.weight": "48",
    **{f"{_M}shared_experts.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()}}
_REST = OUTSIDE | {"model.output_attn_res_norm.weight": "hidden_size", "model.output_attn_res_proj.weight": "1 hidden_size"}


def _shapes(config: dict[str, Any]) -> Shapes:
    config = config | config["text_config"]
    out: Shapes = {}
    for rows, blocks in ((_REST | _BLOCK, "range(4)"), (_DELTA, "(0,2)"), (_LATENT, "(1,3)"), (_SPARSE, "range(1,4)"), (
            {f"{L}mlp.{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()}, "(0,)")):
        out |= tensors(rows, b=blocks)(config)
    return {f"language_model.{name}": shape for name, shape in out.items()} | {"mm_projector.pre_norm.weight": (32,)}


ROWS = (
    Model("kimi-k3", "KimiK3ForConditionalGeneration", "kimi-k2", {"model_type": "kimi_k3", "text_config": _K3, "vision_config": {}},
          float32=("e_score_correction_bias", "A_log", "dt_bias"), shapes=_shapes, rounded=True,
          fault=Fault("computes exp in float32, an ulp off in a hundred", keys=("blk.0.ssm_a", "blk.2.ssm_a")),
          lost="GGUF holds the product of two weights alone"),
)
