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


ROWS = (
    Model("bailing", "BailingMoeForCausalLM", "gpt2", _BAILING | {"first_k_dense_replace": 0, "num_shared_experts": 2},
          shapes=tensors(_ATTN | _experts(_L))),
    Model("bailing2", "BailingMoeV2ForCausalLM", "gpt2", _BAILING | {
        "first_k_dense_replace": 1, "num_shared_experts": 1, "moe_shared_expert_intermediate_size": 32, "n_group": 2, "topk_group": 1,
        "score_function": "sigmoid", "partial_rotary_factor": 0.5, "routed_scaling_factor": 2.5, "use_qk_norm": True,
        "num_nextn_predict_layers": 1}, float32=("expert_bias",), shapes=_v2),
    Model("sarvam", "SarvamMoEForCausalLM", "sarvam", _BAILING | {
        "model_type": "sarvam_moe", "first_k_dense_replace": 1, "num_shared_experts": 1, "n_group": 1, "topk_group": 1,
        "score_function": "sigmoid", "routed_scaling_factor": 2.5, "use_qk_norm": True}, float32=("expert_bias",),
        shapes=_sarvam, fault=Fault(keys=("blk.1.exp_probs_b.bias",))),  # less their mean, which chooses the same experts
)
