"""GroveMoE, which transformers does not have."""

# fmt: off
from .rows import DECODER, Model, tensors

_B = "model.layers.{b}."
_SHAPES = {
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    f"{_B}input_layernorm.weight": "hidden_size", f"{_B}post_attention_layernorm.weight": "hidden_size",
    f"{_B}self_attn.q_proj.weight": "num_attention_heads*head_dim hidden_size",
    f"{_B}self_attn.o_proj.weight": "hidden_size num_attention_heads*head_dim",
    **{f"{_B}self_attn.{name}_proj.weight": "num_key_value_heads*head_dim hidden_size" for name in "kv"},
    **{f"{_B}self_attn.{name}_norm.weight": "head_dim" for name in "qk"}, f"{_B}mlp.gate.weight": "num_experts hidden_size"}


def _experts(stack: str, width: str) -> dict[str, str]:
    return {f"{_B}mlp.{stack}.{{e}}.gate_proj.weight": f"{width} hidden_size", f"{_B}mlp.{stack}.{{e}}.up_proj.weight": f"{width} hidden_size",
            f"{_B}mlp.{stack}.{{e}}.down_proj.weight": f"hidden_size {width}"}


_LARGE = tensors(_SHAPES | _experts("experts", "moe_intermediate_size"))
_SMALL = tensors(_experts("chunk_experts", "head_dim"), e="num_experts//2")

ROWS = (
    Model("grovemoe", "GroveMoeForCausalLM", "qwen2", DECODER | {
        "model_type": "grove_moe", "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000000.0,
        "tie_word_embeddings": False, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True,
        "attention_bias": False, "use_sliding_window": False, "decoder_sparse_step": 1, "mlp_only_layers": []},
          shapes=lambda config: _LARGE(config) | _SMALL(config)),
)
