"""Grok-1, which transformers does not have."""

# fmt: off
from .rows import DECODER, Model, tensors

_T, _HEAD = "transformer.decoder_layer.{b}.", "hidden_size//num_attention_heads"
_SHAPES = tensors({
    "transformer.in_out_embed.weight": "vocab_size hidden_size", "transformer.rms_norm.weight": "hidden_size",
    **{f"{_T}{name}.weight": "hidden_size" for name in ("rms_norm", "rms_norm_1", "rms_norm_2", "rms_norm_3")},
    **{f"{_T}multi_head_attention.{name}.weight": "hidden_size hidden_size" for name in ("query", "linear")},
    **{f"{_T}multi_head_attention.{name}.weight": f"num_key_value_heads*{_HEAD} hidden_size" for name in ("key", "value")},
    f"{_T}router.weight": "num_local_experts hidden_size",
    **{f"{_T}moe.{{e}}.{name}.weight": "intermediate_size hidden_size" for name in ("linear", "linear_v")},
    f"{_T}moe.{{e}}.linear_1.weight": "hidden_size intermediate_size"}, e="num_local_experts")

ROWS = (
    Model("grok", "GrokForCausalLM", "llama-spm", DECODER | {
        "model_type": "grok", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "num_local_experts": 4,
        "num_experts_per_tok": 2, "embedding_multiplier_scale": 8.0, "output_multiplier_scale": 0.57735, "attn_output_multiplier": 0.25},
          shapes=_SHAPES),
)
