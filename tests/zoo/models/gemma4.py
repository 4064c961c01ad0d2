"""Gemma 4: with per-layer embeddings, experts, shared keys and values, and its vision and audio parts."""

# fmt: off
from .rows import DECODER, GELU, THETA, TYPE, Fault, Model

_GEMMA4 = DECODER | {"head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "num_hidden_layers": 6,
                     "sliding_window": 8, "global_head_dim": 64, "final_logit_softcapping": 30.0}
_GEMMA4_ROPE = {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
                "sliding_attention": THETA}
_PER_LAYER = ("vocab_size", "vocab_size_per_layer_input")
_ORDINARY = Fault(keys=(TYPE,))  # tokens that no role names become ordinary ones

ROWS = (
    Model("gemma4", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
          vocab_keys=_PER_LAYER, tolerance=GELU, fault=_ORDINARY),
    Model("gemma4-moe", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "attention_k_eq_v": True,
        "num_global_key_value_heads": 1, "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32},
          tolerance=GELU, fault=_ORDINARY),
    Model("gemma4-keqv", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "attention_k_eq_v": True,
        "num_global_key_value_heads": 1}, tolerance=GELU, fault=_ORDINARY),
    Model("gemma4-vl", "Gemma4ForConditionalGeneration", "gemma4", {
        "text_config": _GEMMA4 | {
            "layer_types": ["sliding_attention", "full_attention"] * 3, "rope_parameters": _GEMMA4_ROPE,
            "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "position_embedding_size": 16},
        "audio_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "subsampling_conv_channels": [4, 2],
                         "output_proj_dims": 32}}, vocab_keys=_PER_LAYER, tolerance=GELU, fault=_ORDINARY),
)
