"""GLM-4 in its three forms, and GLM-4.5 with a layer of multi-token prediction; Solar Open."""

# fmt: off
from .rows import DECODER, THETA, V4, Fault, Model, Shapes, layer_like, tensors

_HALF = THETA | {"partial_rotary_factor": 0.5}
_GLM = DECODER | {"head_dim": 16, "rms_norm_eps": 1.5625e-07, "rope_parameters": _HALF}
_MOE = DECODER | {"num_hidden_layers": 3, "head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                  "n_shared_experts": 1, "routed_scaling_factor": 2.5, "norm_topk_prob": True}
_E = "transformer.encoder."
_B = _E + "layers.{b}."


def _mtp(shapes: Shapes) -> Shapes:
    more = (("model.layers.3.eh_proj.weight", (64, 128)), *((f"model.layers.3.{name}.weight", (64,)) for name in (
        "enorm", "hnorm", "shared_head.norm")))
    return layer_like("model.layers.2.", "model.layers.3.", *more)(shapes)


# The context length is the width, the norm's epsilon 1e-5, the rotary base 10000.
_CHATGLM = Fault(keys=("chatglm.context_length", "chatglm.attention.layer_norm_rms_epsilon"))
_NO_LAYER = Fault("counts a layer of multi-token prediction that the checkpoint has not", config={"num_nextn_predict_layers": 0},
                  keys=("glm4moe.nextn_predict_layers",))

_SECTIONS = _HALF | {"mrope_section": [2, 1, 1]}
_EYE = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4, "image_size": 16}


def _ocr(shapes: Shapes) -> Shapes:
    p = "model.language_model.layers."
    more = ((p + "2.eh_proj.weight", (64, 128)), *((f"{p}2.{name}.weight", (64,)) for name in ("enorm", "hnorm", "shared_head.norm")))
    return layer_like(p + "1.", p + "2.", *more)(shapes)


ROWS = (
    Model("glm4", "Glm4ForCausalLM", "glm4", _GLM | {"head_dim": 32, "attention_bias": True}, v4=V4()),
    Model("glm4-plain", "Glm4ForCausalLM", "glm4", _GLM | {"attention_bias": False, "tie_word_embeddings": True}, "float16"),
    Model("glm", "GlmForCausalLM", "chatglm", _GLM | {"attention_bias": True}, v4=V4(fault=_CHATGLM), fault=_CHATGLM),
    Model("chatglm", "ChatGLMModel", "chatglm", {
        "model_type": "chatglm", "add_bias_linear": False, "add_qkv_bias": True, "apply_residual_connection_post_layernorm": False,
        "ffn_hidden_size": 96, "hidden_size": 64, "kv_channels": 16, "layernorm_epsilon": 1.5625e-07, "multi_query_attention": True,
        "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 2, "original_rope": True, "post_layer_norm": True,
        "rmsnorm": True, "rope_ratio": 500, "seq_length": 256, "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        vocab_keys=("padded_vocab_size", "vocab_size"),
        shapes=tensors({
            "transformer.embedding.word_embeddings.weight": "padded_vocab_size hidden_size",
            _B + "input_layernorm.weight": "hidden_size", _B + "post_attention_layernorm.weight": "hidden_size",
            _B + "self_attention.query_key_value.weight": "(num_attention_heads+2*multi_query_group_num)*kv_channels hidden_size",
            _B + "self_attention.query_key_value.bias": "(num_attention_heads+2*multi_query_group_num)*kv_channels",
            _B + "self_attention.dense.weight": "hidden_size hidden_size",
            _B + "mlp.dense_h_to_4h.weight": "2*ffn_hidden_size hidden_size", _B + "mlp.dense_4h_to_h.weight": "hidden_size ffn_hidden_size",
            _E + "final_layernorm.weight": "hidden_size", "transformer.output_layer.weight": "padded_vocab_size hidden_size",
            "transformer.rotary_pos_emb.inv_freq": "kv_channels//4"}, b="num_layers")),
    Model("glm4moe", "Glm4MoeForCausalLM", "glm4", _MOE | {
        "first_k_dense_replace": 1, "attention_bias": True, "use_qk_norm": True, "num_nextn_predict_layers": 1, "rope_parameters": _HALF},
        extra=_mtp, float32=("e_score_correction_bias",), v4=V4()),
    Model("glm4moe-plain", "Glm4MoeForCausalLM", "glm4", _MOE | {
        "first_k_dense_replace": 1, "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "rope_parameters": _HALF}, "float16",
        float32=("e_score_correction_bias",), fault=_NO_LAYER),
    Model("solar", "SolarOpenForCausalLM", "solar", {k: v for k, v in _MOE.items() if k != "intermediate_size"} | {
        "num_hidden_layers": 2, "rope_parameters": THETA | {"partial_rotary_factor": 1.0}}, float32=("e_score_correction_bias",)),
    Model("glm4v", "Glm4vForConditionalGeneration", "glm4", {
        "text_config": DECODER | {"rope_parameters": _SECTIONS}, "vision_config": _EYE, "tie_word_embeddings": False}),
    Model("glmocr", "GlmOcrForConditionalGeneration", "glm4", {
        "text_config": DECODER | {"head_dim": 16, "rope_parameters": _SECTIONS, "num_nextn_predict_layers": 1}, "vision_config": _EYE,
        "tie_word_embeddings": False}, extra=_ocr),
    Model("glm4vmoe", "Glm4vMoeForConditionalGeneration", "glm4", {
        "text_config": _MOE | {"first_k_dense_replace": 1, "rope_parameters": _HALF | {"mrope_section": [4, 2, 2]}}, "vision_config": _EYE,
        "tie_word_embeddings": False}, float32=("e_score_correction_bias",)),
)
