"""Bailing (Ling), versions 1 and 2, the latter with a layer of multi-token prediction."""

# fmt: off
from typing import Any

from .rows import DECODER, Fault, Model, Shapes, tensors

_L = "model.layers.{b}."
_MLP = {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_BAILING = DECODER | {
    "model_type": "bailing_moe", "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 600000,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_bias": False, "use_qkv_bias": False, "num_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True, "norm_head": False, "norm_softmax": False}
_ATTN = {
    "model.word_embeddings.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size",
    "lm_head.weight": "vocab_size hidden_size", _L + "input_layernorm.weight": "hidden_size",
    _L + "post_attention_layernorm.weight": "hidden_size",
    _L + "attention.query_key_value.weight": "(num_attention_heads+2*num_key_value_heads)*head_dim hidden_size",
    _L + "attention.dense.weight": "hidden_size num_attention_heads*head_dim"}


def _experts(layer: str) -> dict[str, str]:
    return {
        f"{layer}mlp.gate.weight": "num_experts hidden_size",
        **{f"{layer}mlp.experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
        **{f"{layer}mlp.shared_experts.{p}.weight": s.format("num_shared_experts*moe_intermediate_size") for p, s in _MLP.items()}}


def _v2(config: dict[str, Any]) -> Shapes:
    """A dense block, one of experts, and one that predicts."""
    norms = {f"{_L}attention.{n}_layernorm.weight": "head_dim" for n in ("query", "key")}
    rows = _ATTN | norms | {f"model.layers.0.mlp.{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()}
    for layer in ("model.layers.1.", "model.layers.2."):
        rows |= _experts(layer) | {f"{layer}mlp.gate.expert_bias": "num_experts"}
    rows |= {"model.layers.2.eh_proj.weight": "hidden_size 2*hidden_size"}
    rows |= {f"model.layers.2.{n}.weight": "hidden_size" for n in ("enorm", "hnorm", "final_layernorm")}
    return tensors(rows, b="num_hidden_layers+1")(config)



def _sarvam(config: dict[str, Any]) -> Shapes:
    return {name: shape for name, shape in _v2(config).items() if ".layers.2." not in name}

_V3 = {key: value for key, value in _BAILING.items() if key != "num_key_value_heads"} | {
    "model_type": "bailing_moe_v3", "num_hidden_layers": 4, "num_key_value_heads": 4, "layer_group_size": 2, "num_nextn_predict_layers": 1,
    "head_dim": 16, "short_conv_kernel_size": 4, "kda_safe_gate": True, "kda_lower_bound": -5.0, "no_kda_lora": True,
    "gated_attention_proj_granularity_type": "head_wise", "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 1, "num_shared_experts": 1, "moe_shared_expert_intermediate_size": 48,
    "routed_scaling_factor": 2.5, "score_function": "sigmoid", "n_group": 1, "topk_group": 1, "use_qk_norm": True,
    "expert_swiglu_limit_list": [0.0, 7.0, None, 7.0, 0.0], "share_expert_swiglu_limit_list": [None, 7.0, 7.0, 7.0, 0.0]}
_A, _HEADS, _INNER = _L + "attention.", "num_attention_heads", "num_attention_heads*head_dim"
_DELTA = {
    **{f"{_A}{p}_proj.weight": f"{_INNER} hidden_size" for p in "qkvfg"}, **{f"{_A}{p}_conv1d.weight": f"{_INNER} 1 4" for p in "qkv"},
    _A + "b_proj.weight": f"{_HEADS} hidden_size", _A + "A_log": _HEADS, _A + "dt_bias": _INNER, _A + "o_norm.weight": "head_dim",
    _A + "o_proj.weight": f"hidden_size {_INNER}"}
_LATENT = {
    _A + "kv_a_proj_with_mqa.weight": "kv_lora_rank+qk_rope_head_dim hidden_size", _A + "kv_a_layernorm.weight": "kv_lora_rank",
    _A + "kv_b_proj.weight": f"{_HEADS}*(qk_nope_head_dim+v_head_dim) kv_lora_rank", _A + "g_proj.weight": f"{_HEADS} hidden_size",
    _A + "dense.weight": f"hidden_size {_HEADS}*v_head_dim"}
_QUERY = {_A + "q_proj.weight": f"{_HEADS}*(qk_nope_head_dim+qk_rope_head_dim) hidden_size"}
_LOW_QUERY = {
    _A + "q_a_proj.weight": "q_lora_rank hidden_size", _A + "q_a_layernorm.weight": "q_lora_rank",
    _A + "q_b_proj.weight": f"{_HEADS}*(qk_nope_head_dim+qk_rope_head_dim) q_lora_rank"}


def _v3(config: dict[str, Any]) -> Shapes:
    """Two groups of one block of each kind, and one block that predicts."""
    eye = {"model.visual.pos_embed.weight": (4, 32), "linear_proj.0.bias": (64,)} if "text_config" in config else {}
    config = config | config.get("text_config", {})
    count, more = config["num_hidden_layers"], config["num_nextn_predict_layers"]
    latent, layers = tuple(b for b in range(count) if b % 2) + tuple(range(count, count + more)), count + more
    shared = {f"{_L}mlp.shared_experts.{p}.weight": s.format("moe_shared_expert_intermediate_size") for p, s in _MLP.items()}
    norms = {name: shape for name, shape in _ATTN.items() if "attention." not in name}
    out = dict(eye)
    for rows, blocks in (
        (norms, layers), (_DELTA, "range(0,num_hidden_layers,2)"), (_LATENT | (_LOW_QUERY if config.get("q_lora_rank") else _QUERY), str(latent)),
        ({f"{_L}mlp.{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()}, "(0,)"),
        (_experts(_L) | shared | {f"{_L}mlp.gate.expert_bias": "num_experts"}, f"range(1,{layers})"),
        ({f"{_L}{n}.weight": "hidden_size" for n in ("enorm", "hnorm", "final_layernorm")} | {
            f"{_L}eh_proj.weight": "hidden_size 2*hidden_size"}, f"range({count},{layers})")):
        out |= tensors(rows, b=str(blocks))(config)
    return out


_EXP = Fault("computes exp in float32, an ulp off in a hundred", keys=("blk.0.ssm_a", "blk.2.ssm_a"))
_V3_TEXT = _V3 | {"num_nextn_predict_layers": 0, "q_lora_rank": None, "mrope_section": [2, 1, 1], "vocab_size": 420} | {
    key: _V3[key][:4] for key in ("expert_swiglu_limit_list", "share_expert_swiglu_limit_list")}
ROWS = (
    Model("bailing", "BailingMoeForCausalLM", "gpt2", _BAILING | {
        "first_k_dense_replace": 0, "num_shared_experts": 2, "norm_head": True}, shapes=tensors(_ATTN | _experts(_L)),
        lost="the columns of the head come back normed",
        fault=Fault(keys=("output.weight",))),  # lengths of columns to within the last bit
    Model("bailing2", "BailingMoeV2ForCausalLM", "gpt2", _BAILING | {
        "first_k_dense_replace": 1, "num_shared_experts": 1, "moe_shared_expert_intermediate_size": 32, "n_group": 2, "topk_group": 1,
        "score_function": "sigmoid", "partial_rotary_factor": 0.5, "routed_scaling_factor": 2.5, "use_qk_norm": True,
        "num_nextn_predict_layers": 1}, float32=("expert_bias",), shapes=_v2),
    Model("sarvam", "SarvamMoEForCausalLM", "sarvam", _BAILING | {
        "model_type": "sarvam_moe", "first_k_dense_replace": 1, "num_shared_experts": 1, "n_group": 1, "topk_group": 1,
        "score_function": "sigmoid", "routed_scaling_factor": 2.5, "use_qk_norm": True}, float32=("expert_bias",),
        shapes=_sarvam, fault=Fault(keys=("blk.1.exp_probs_b.bias",))),  # less their mean, which chooses the same experts
    Model("bailing3", "BailingMoeV3ForCausalLM", "gpt2", _V3, float32=("expert_bias", "A_log", "dt_bias"), shapes=_v3, rounded=True, fault=_EXP),
    Model("bailing3-vl", "BailingMoeV3VLForConditionalGeneration", "gpt2", {
        "model_type": "bailing_moe_v3_vl", "text_config": _V3_TEXT, "vision_config": {}}, float32=("expert_bias", "A_log", "dt_bias"),
          shapes=_v3, rounded=True, fault=_EXP),
)
