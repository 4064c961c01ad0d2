"""Snowflake Arctic, which transformers does not have."""

# fmt: off
from .rows import DECODER, Model, tensors

_B, _HEAD = "model.layers.{b}.", "hidden_size//num_attention_heads"
_SHAPES = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    **{f"{_B}{name}_layernorm.weight": "hidden_size" for name in ("input", "post_attention", "residual")},
    **{f"{_B}self_attn.{name}_proj.weight": "hidden_size hidden_size" for name in "qo"},
    **{f"{_B}self_attn.{name}_proj.weight": f"num_key_value_heads*{_HEAD} hidden_size" for name in "kv"},
    **{f"{_B}residual_mlp.w{n}.weight": "hidden_size hidden_size" for n in (1, 2, 3)},
    f"{_B}block_sparse_moe.gate.weight": "num_local_experts hidden_size",
    **{f"{_B}block_sparse_moe.experts.{{e}}.w{n}.weight": "intermediate_size hidden_size" for n in (1, 3)},
    f"{_B}block_sparse_moe.experts.{{e}}.w2.weight": "hidden_size intermediate_size"}, e="num_local_experts")

ROWS = (
    Model("arctic", "ArcticForCausalLM", "llama-spm", DECODER | {
        "model_type": "arctic", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "tie_word_embeddings": False,
        "num_local_experts": 4, "num_experts_per_tok": 2, "moe_layer_frequency": 1, "parallel_attn_mlp_res": True, "use_residual": True},
          shapes=_SHAPES),
)
