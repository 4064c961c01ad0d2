"""DeepSeek-OCR, Unlimited-OCR."""

# fmt: off
from .rows import LLAMA_NAMES, Model, tensors, without

_OCR = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256, "num_attention_heads": 4,
    "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2, "moe_intermediate_size": 32,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "kv_lora_rank": None, "q_lora_rank": None,
    "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0, "use_mla": False, "torch_dtype": "bfloat16"}
_PLAIN = without(LLAMA_NAMES, "mlp")
_MLP = {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_SHAPES = tensors(_PLAIN | {
    **{f"model.layers.0.mlp.{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()},
    "model.layers.1.mlp.gate.weight": "n_routed_experts hidden_size",
    **{f"model.layers.1.mlp.experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
    **{f"model.layers.1.mlp.shared_experts.{p}.weight": s.format("2*moe_intermediate_size") for p, s in _MLP.items()},
    "model.sam_model.pos_embed": "1 4 4 32", "model.projector.layers.weight": "hidden_size 32", "model.image_newline": "hidden_size",
    "model.view_seperator": "hidden_size"}, e="n_routed_experts")

ROWS = (
    Model("deepseek-ocr", "DeepseekOCRForCausalLM", "deepseek3", _OCR | {"model_type": "deepseek_vl_v2", "language_config": _OCR | {
        "vocab_size": 423}, "projector_config": {"model_type": "mlp_projector"}, "vision_config": {"model_type": "vision"}}, shapes=_SHAPES),
    Model("deepseek-ocr2", "DeepseekOCR2ForCausalLM", "deepseek3", _OCR | {"model_type": "deepseek_vl_v2", "language_config": _OCR | {
        "vocab_size": 423, "architectures": ["DeepseekV2ForCausalLM"]}, "projector_config": {"model_type": "mlp_projector"},
        "vision_config": {"model_type": "vision"}}, shapes=_SHAPES),
    Model("unlimited-ocr", "UnlimitedOCRForCausalLM", "deepseek3", _OCR | {
        "model_type": "unlimited-ocr", "sliding_window_size": 16, "language_config": _OCR | {"vocab_size": 423, "sliding_window_size": 16},
        "vision_config": {"model_type": "vision"}}, "float16", shapes=_SHAPES),
)
