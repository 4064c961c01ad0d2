"""Talkie."""

# fmt: off
from .rows import Model, tensors

_T = "model.blocks.{b}."
_WIDE = "n_head*head_dim n_embd"

ROWS = (
    Model("talkie", "TalkieForCausalLM", "talkie", {
        "model_type": "talkie", "n_layer": 2, "n_head": 4, "n_embd": 64, "head_dim": 16, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 256, "rope_theta": 1000000.0,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        shapes=tensors({
            "model.embed.weight": "vocab_size n_embd", _T + "attn.attn_query.weight": _WIDE, _T + "attn.attn_key.weight": _WIDE,
            _T + "attn.attn_value.weight": _WIDE, _T + "attn.attn_resid.weight": "n_embd n_head*head_dim",
            _T + "attn.head_gain.head_g": "n_head", _T + "attn_gain.a_g": "1", _T + "mlp_gain.a_g": "1", _T + "embed_skip.a_g": "1",
            _T + "mlp.mlp_gate.weight": "intermediate_size n_embd", _T + "mlp.mlp_linear.weight": "intermediate_size n_embd",
            _T + "mlp.mlp_resid.weight": "n_embd intermediate_size", "lm_head": "vocab_size n_embd", "lm_head_gain.w_g": "1"},
            b="n_layer")),
)
