"""MiniCPM, MiniCPM 3 and MiniCPM-V 4.6."""

# fmt: off
from .qwen35 import _NO_HEAD, _QWEN35, _QWEN35_F32
from .rows import DECODER, RECURRENT, SMALL, THETA, V4, Model, tensors

_L = "model.layers.{b}."

ROWS = (
    Model("minicpm", "MiniCPMForCausalLM", "llama-spm", DECODER | {
        "model_type": "minicpm", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 10000.0, "scale_emb": 12, "scale_depth": 1.4,
        "dim_model_base": 32, "torch_dtype": "bfloat16"}, shapes=tensors({
            "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size",
            _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
            **{f"{_L}self_attn.{p}_proj.weight": "hidden_size hidden_size" for p in "qo"},
            **{f"{_L}self_attn.{p}_proj.weight": "hidden_size//2 hidden_size" for p in "kv"},
            **{f"{_L}mlp.{p}_proj.weight": "intermediate_size hidden_size" for p in ("gate", "up")},
            _L + "mlp.down_proj.weight": "hidden_size intermediate_size"})),
    Model("minicpm3", "MiniCPM3ForCausalLM", "llama-spm", SMALL | {
        "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 16, "v_head_dim": 16, "rope_parameters": THETA}, v4=V4(drop=("head_dim",))),
    Model("minicpmv", "MiniCPMV4_6ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35, "vision_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                                                  "num_attention_heads": 2, "image_size": 16, "patch_size": 4, "insert_layer_id": 0},
        "insert_layer_id": 0}, float32=_QWEN35_F32, zero_norms=True, tolerance=RECURRENT, rounded=True, fault=_NO_HEAD),
)
