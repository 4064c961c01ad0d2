"""Laguna, Maple, Spark X2.5."""

# fmt: off
from .rows import DECODER, GELU, LLAMA_NAMES, THETA, L, Model, tensors, without

_KINDS = {"sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"]}
_ROPES = {"full_attention": THETA | {"rope_theta": 500000.0, "partial_rotary_factor": 0.5}, "sliding_attention": THETA | {"partial_rotary_factor": 1.0}}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
_LAGUNA = DECODER | _KINDS | _MOE | {"head_dim": 16, "shared_expert_intermediate_size": 64, "num_attention_heads_per_layer": [4, 6],
                                     "moe_routed_scaling_factor": 2.5, "rope_parameters": _ROPES}
_HUB = DECODER | _KINDS | {"head_dim": 16, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "attention_bias": False}
_MAPLE = _HUB | _MOE | {"model_type": "maple", "hidden_act": "silu", "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
                        "nope_on_global_attention": True, "norm_topk_prob": True}
_SPARK = _HUB | {"model_type": "spark2_5", "hidden_act": "gelu", "gate_attn_act_mode": "sigmoid", "headwise_attn_output_gate": True,
                 "rope_parameters": _ROPES}
_NORMS = {L + "self_attn.q_norm.weight": "head_dim", L + "self_attn.k_norm.weight": "head_dim"}
_EXPERTS = {L + "mlp.gate.weight": "num_experts hidden_size", **{
    L + f"mlp.experts.{{e}}.{name}_proj.weight": "moe_intermediate_size hidden_size" for name in ("gate", "up")},
    L + "mlp.experts.{e}.down_proj.weight": "hidden_size moe_intermediate_size"}
_FUSED = {L + "self_attn.q_k_v_proj.weight": "8*head_dim hidden_size", L + "self_attn.g_proj.weight": "num_attention_heads hidden_size",
          L + "self_attn.o_proj.weight": "hidden_size hidden_size"}

ROWS = (
    Model("laguna", "LagunaForCausalLM", "gpt2", _LAGUNA),
    Model("maple", "MapleForCausalLM", "gpt2", _MAPLE, shapes=tensors(without(LLAMA_NAMES, "mlp.") | _NORMS | _EXPERTS)),
    Model("spark", "Spark2_5ForCausalLM", "gpt2", _SPARK, shapes=tensors(without(LLAMA_NAMES, "self_attn") | _FUSED), tolerance=GELU),
)
