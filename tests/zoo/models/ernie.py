"""ERNIE 4.5 and its mixture of experts; the fused projections of Baidu's own code."""

# fmt: off
from .rows import DECODER, THETA, V4, Model, tensors

_ERNIE = DECODER | {"head_dim": 32, "rope_parameters": THETA | {"rope_theta": 500000.0}}
_L = "ernie.layers.{b}."

ROWS = (
    Model("ernie", "Ernie4_5ForCausalLM", "llama-spm", _ERNIE, v4=V4()),
    Model("ernie-fused", "Ernie4_5_ForCausalLM", "llama-spm", DECODER | {
        "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": False, "use_bias": False},
        shapes=tensors({
            "ernie.embed_tokens.weight": "vocab_size hidden_size",
            _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
            _L + "self_attn.qkv_proj.weight": "(num_attention_heads+2*num_key_value_heads)*head_dim hidden_size",
            _L + "self_attn.o_proj.weight": "hidden_size num_attention_heads*head_dim",
            _L + "mlp.up_gate_proj.weight": "2*intermediate_size hidden_size", _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
            "ernie.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size"}),
        lost="without ggufx's keys the projections come back one by one, as transformers has them"),
    # The shared experts' width is what llama.cpp's converter takes it for: intermediate_size / num_key_value_heads.
    Model("ernie-moe", "Ernie4_5_MoeForCausalLM", "llama-spm", DECODER | {
        "num_hidden_layers": 3, "intermediate_size": 128, "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 2,
        "moe_intermediate_size": 32, "moe_layer_start_index": 1, "rope_parameters": THETA | {"rope_theta": 500000.0}},
        float32=("e_score_correction_bias",), v4=V4()),
    Model("paddleocr", "PaddleOCRVLForConditionalGeneration", "llama-spm", {
        "text_config": _ERNIE | {"head_dim": 16, "rope_parameters": THETA | {"rope_theta": 500000.0, "mrope_section": [4, 2, 2]}},
        "vision_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
                          "patch_size": 4}}),
)
