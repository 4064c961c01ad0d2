"""SmallThinker, which transformers does not have."""

# fmt: off
from .rows import DECODER, RECURRENT, Model, tensors

_B = "model.layers.{b}."
_SHAPES = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    f"{_B}input_layernorm.weight": "hidden_size", f"{_B}post_attention_layernorm.weight": "hidden_size",
    f"{_B}self_attn.q_proj.weight": "num_attention_heads*head_dim hidden_size",
    f"{_B}self_attn.o_proj.weight": "hidden_size num_attention_heads*head_dim",
    **{f"{_B}self_attn.{name}_proj.weight": "num_key_value_heads*head_dim hidden_size" for name in "kv"},
    f"{_B}block_sparse_moe.primary_router.weight": "moe_num_primary_experts hidden_size",
    **{f"{_B}block_sparse_moe.experts.{{e}}.{name}.weight": "moe_ffn_hidden_size hidden_size" for name in ("gate", "up")},
    f"{_B}block_sparse_moe.experts.{{e}}.down.weight": "hidden_size moe_ffn_hidden_size"}, e="moe_num_primary_experts")

ROWS = (
    Model("smallthinker", "SmallThinkerForCausalLM", "qwen2", {k: v for k, v in DECODER.items() if k != "intermediate_size"} | {
        "model_type": "smallthinker", "num_hidden_layers": 4, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1500000.0,
        "tie_word_embeddings": False, "moe_num_primary_experts": 4, "moe_num_active_primary_experts": 2, "moe_ffn_hidden_size": 32,
        "moe_primary_router_apply_softmax": False, "sliding_window_layout": [0, 1, 1, 1], "rope_layout": [0, 1, 1, 1],
        "sliding_window_size": 4096, "moe_layer_layout": [1] * 4, "moe_enable_early_router": True, "moe_enable_secondary_experts": False},
          shapes=_SHAPES, tolerance=RECURRENT),
)
