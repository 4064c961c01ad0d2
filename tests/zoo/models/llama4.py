"""Llama 4, alone and with its eye."""

# fmt: off
from .rows import DECODER, THETA, V4, Model

_LLAMA4 = DECODER | {
    "num_hidden_layers": 4, "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 96, "interleave_moe_layer_step": 2,
    "num_local_experts": 4, "num_experts_per_tok": 1}
_LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}

ROWS = (
    Model("llama4", "Llama4ForCausalLM", "llama4", _LLAMA4 | {"rope_parameters": _LLAMA3}, v4=V4()),
    Model("llama4-vl", "Llama4ForConditionalGeneration", "llama4", {
        "text_config": _LLAMA4 | {"interleave_moe_layer_step": 1, "rope_parameters": THETA | {"rope_theta": 500000.0}},
        "vision_config": {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
                          "patch_size": 4, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32}}),
)
