"""GLM-5 Next, with a layer of multi-token prediction."""

# fmt: off
from typing import Any

from .rows import SMALL, Fault, Model, Shapes, tensors

_L = "model.language_model.layers.{b}."
_A, _M, _MLP = _L + "self_attn.", _L + "mlp.", {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_INNER = "num_attention_heads*16"  # the head length of delta attention
_DELTA = {
    **{f"{_A}{p}_proj.weight": f"{_INNER} hidden_size" for p in "qkv"}, **{f"{_A}{p}_conv1d.weight": f"{_INNER} 1 4" for p in "qkv"},
    **{f"{_A}{p}_a_proj.weight": "16 hidden_size" for p in "fg"}, **{f"{_A}{p}_b_proj.weight": f"{_INNER} 16" for p in "fg"},
    _A + "b_proj.weight": "num_attention_heads hidden_size", _A + "A_log": "num_attention_heads", _A + "dt_bias": _INNER,
    _A + "o_norm.weight": "16", _A + "o_proj.weight": f"hidden_size {_INNER}"}
_LATENT = {
    _A + "q_a_proj.weight": "q_lora_rank hidden_size", _A + "q_a_layernorm.weight": "q_lora_rank",
    _A + "q_b_proj.weight": "num_attention_heads*qk_nope_head_dim q_lora_rank", _A + "kv_a_proj_with_mqa.weight": "kv_lora_rank hidden_size",
    _A + "kv_a_layernorm.weight": "kv_lora_rank", _A + "o_proj.weight": "hidden_size num_attention_heads*v_head_dim",
    _A + "kv_b_proj.weight": "num_attention_heads*(qk_nope_head_dim+v_head_dim) kv_lora_rank"}
_INDEXER = {
    _A + "indexer.wq_b.weight": "index_n_heads*index_head_dim q_lora_rank", _A + "indexer.wk.weight": "index_head_dim hidden_size",
    _A + "indexer.k_norm.weight": "index_head_dim", _A + "indexer.k_norm.bias": "index_head_dim",
    _A + "indexer.weights_proj.weight": "index_n_heads hidden_size",
    _A + "indexer.index_kpool_compress_gate": "index_head_dim hidden_size",
    _A + "indexer.index_kpool_compress_ape": "index_kpool index_head_dim"}
_SPARSE = {
    _M + "gate.weight": "n_routed_experts hidden_size", _M + "gate.e_score_correction_bias": "n_routed_experts",
    **{f"{_M}experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
    **{f"{_M}shared_experts.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()}}
_STREAMS = {f"{_L}hc_{p}_{name}": s for p in ("attn", "ffn") for name, s in (("fn", "24 4*hidden_size"), ("base", "24"), ("scale", "3"))}
_NORMS = {_L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size"}
_NEXTN = {_L + "eh_proj.weight": "hidden_size 2*hidden_size",
          **{f"{_L}{name}.weight": "hidden_size" for name in ("enorm", "hnorm", "shared_head.norm")}}
_REST = {"lm_head.weight": "vocab_size hidden_size", **{f"model.language_model.{name}.weight": shape for name, shape in (
    ("embed_tokens", "vocab_size hidden_size"), ("norm", "hidden_size"))}, "model.visual.post_layernorm.weight": "32"}
_DENSE = {f"{_M}{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()}


def _shapes(config: dict[str, Any]) -> Shapes:
    config = config | config["text_config"]
    out: Shapes = {}
    for rows, blocks in ((_REST | _STREAMS, "range(4)"), (_NORMS, "range(5)"), (_DELTA, "(0,2)"), (_LATENT, "(1,3,4)"), (_INDEXER, "(1,4)"),
                         (_DENSE, "(0,)"), (_SPARSE, "range(1,5)"), (_NEXTN, "(4,)")):
        out |= tensors(rows, b=blocks, e="n_routed_experts")(config)
    return out


ROWS = (
    Model("glm5-next", "Glm5NextForConditionalGeneration", "glm4", {"model_type": "glm5_next", "vision_config": {"depth": 1}, "text_config": SMALL | {
        "model_type": "glm5_next_text", "vocab_size": 426, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32,
        "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 0, "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "n_shared_experts": 1, "moe_intermediate_size": 32, "routed_scaling_factor": 2.5, "norm_topk_prob": True, "scoring_func": "sigmoid",
        "n_group": 1, "topk_group": 1, "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_bias": False,
        "layer_types": ["linear_attention", "full_attention"] * 2, "indexer_types": ["full", "full", "shared", "shared"],
        "first_k_dense_replace": 1, "num_nextn_predict_layers": 1, "index_topk": 8, "index_head_dim": 16, "index_n_heads": 2,
        "index_kpool": 2, "index_kpool_always_select_tail": True, "mla_use_nope": True, "mhc": True, "hc_mult": 4, "hc_eps": 1e-6,
        "hc_sinkhorn_iters": 20, "swiglu_limit": 10.0, "linear_attn_config": {
            "head_dim": 16, "num_heads": 4, "short_conv_kernel_size": 4, "gate_lower_bound": -5.0}}},
          float32=("e_score_correction_bias", "dt_bias", "A_log"), shapes=_shapes, rounded=True,
          fault=Fault("computes exp in float32, an ulp off in a hundred", keys=("blk.0.ssm_a",))),
)
