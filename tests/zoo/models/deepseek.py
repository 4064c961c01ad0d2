"""DeepSeek-V1 to V3.2 and what is built like them, with and without a layer of multi-token prediction."""

# fmt: off
from collections.abc import Callable
from typing import Any

from .rows import SMALL, THETA, V4, Fault, Model, Shapes, layer_like, tensors

_mtp = layer_like(
    "model.layers.1.", "model.layers.2.", ("model.layers.2.eh_proj.weight", (64, 128)), ("model.layers.2.enorm.weight", (64,)),
    ("model.layers.2.hnorm.weight", (64,)), ("model.layers.2.shared_head.norm.weight", (64,)),
)
_DEEPSEEK_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32,
                  "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}
_DEEPSEEK = SMALL | {"num_attention_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
                     "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1}
_DEEPSEEK3 = _DEEPSEEK | {"num_key_value_heads": 4, "q_lora_rank": 32, "n_routed_experts": 8, "n_group": 4, "topk_group": 2,
                          "n_shared_experts": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5}
_DEEPSEEK3_V4 = V4(add={"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1}, rope_key="type")

_SCORING = Fault("takes the gating from scoring_func, which configurations of transformers 5 do not have: experts are mixed by softmax",
                 config={"scoring_func": "sigmoid"})
_GROUPS = Fault(runtime="ranks groups of experts by their two best scores; DeepSeek-V2 ranks by the best one")
_DENSE = {"first_k_dense_replace": 1}  # of configurations of transformers 5 only the list of layers is left
_GATING = Fault("takes the gating from scoring_func, and the dense blocks from first_k_dense_replace, which configurations of "
                "transformers 5 do not have", config={"scoring_func": "sigmoid"} | _DENSE)
_LATENT = {k: v for k, v in _DEEPSEEK.items() if k != "first_k_dense_replace"} | {
    "num_key_value_heads": 4, "q_lora_rank": 32, "n_shared_experts": 1, "routed_scaling_factor": 1.8, "rope_parameters": THETA,
    "first_k_dense_replace": 1, "mlp_layer_types": ["dense", "sparse"]}
_GLM_V4 = V4(add=_DENSE, fault=Fault("takes the gating from scoring_func, which GLM's config.json does not have", config={"scoring_func": "sigmoid"}))
_BOS = Fault("asks the tokenizer for add_bos_token, which those of transformers 5 do not have")
_INDEXED = _LATENT | {"index_n_heads": 2, "index_head_dim": 64, "index_topk": 64, "qk_nope_head_dim": 16}
_L, _F, _M = "model.layers.{b}.", "model.layers.0.mlp.", "model.layers.1.mlp."
_MLP = {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_KIMI = _DEEPSEEK3 | {"model_type": "deepseek_v3", "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1,
                      "rope_theta": 800000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "rope_scaling": None, "hidden_act": "silu"}
_GLM_TEXT = _INDEXED | {
    "model_type": "glm_moe_dsa", "scoring_func": "sigmoid", "rope_theta": 1000000.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "hidden_act": "silu", "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "attention_bias": False}
_INDEXER = {
    _L + "self_attn.indexer.wq_b.weight": "index_n_heads*index_head_dim q_lora_rank",
    _L + "self_attn.indexer.wk.weight": "index_head_dim hidden_size", _L + "self_attn.indexer.k_norm.weight": "index_head_dim",
    _L + "self_attn.indexer.k_norm.bias": "index_head_dim", _L + "self_attn.indexer.weights_proj.weight": "index_n_heads hidden_size"}


def _latent() -> dict[str, str]:
    """The tensors around the feed-forward parts."""
    a = _L + "self_attn."
    return {
        "model.embed_tokens.weight": "vocab_size hidden_size",
        a + "q_a_proj.weight": "q_lora_rank hidden_size", a + "q_a_layernorm.weight": "q_lora_rank",
        a + "q_b_proj.weight": "num_attention_heads*(qk_nope_head_dim+qk_rope_head_dim) q_lora_rank",
        a + "kv_a_proj_with_mqa.weight": "kv_lora_rank+qk_rope_head_dim hidden_size", a + "kv_a_layernorm.weight": "kv_lora_rank",
        a + "kv_b_proj.weight": "num_attention_heads*(qk_nope_head_dim+v_head_dim) kv_lora_rank",
        a + "o_proj.weight": "hidden_size num_attention_heads*v_head_dim",
        _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
        "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size"}


def _kimi(projector: str, **more: str) -> Callable[[dict[str, Any]], Shapes]:
    text = tensors(_latent() | more | {f"{_F}{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()} | {
        _M + "gate.weight": "n_routed_experts hidden_size", _M + "gate.e_score_correction_bias": "n_routed_experts",
        **{f"{_M}experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
        **{f"{_M}shared_experts.{p}.weight": s.format("n_shared_experts*moe_intermediate_size") for p, s in _MLP.items()}},
        e="n_routed_experts")

    def shapes(config: dict[str, Any]) -> Shapes:
        rows = text(config["text_config"] | {"vocab_size": config["vocab_size"]})
        return {f"language_model.{name}": shape for name, shape in rows.items()} | {
            "vision_tower.encoder.final_layernorm.weight": (32,), projector: (64,)}

    return shapes


ROWS = (
    Model("deepseek2", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_key_value_heads": 4, "q_lora_rank": 32, "n_shared_experts": 2, "topk_method": "greedy", "norm_topk_prob": False,
        "routed_scaling_factor": 16.0, "rope_parameters": _DEEPSEEK_YARN},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type")),
    Model("deepseek2-group", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_key_value_heads": 4, "q_lora_rank": 32, "n_shared_experts": 2, "n_group": 2, "topk_group": 1,
        "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0, "rope_parameters": _DEEPSEEK_YARN},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type", fault=_GROUPS), fault=_GROUPS),
    Model("deepseek2-lite", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_hidden_layers": 27, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": None, "n_shared_experts": 1,
        "n_routed_experts": 2, "num_experts_per_tok": 1, "rope_parameters": THETA},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type")),
    Model("deepseek3", "DeepseekV3ForCausalLM", "deepseek3", _DEEPSEEK3 | {
        "rope_parameters": _DEEPSEEK_YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}}, float32=("e_score_correction_bias",), v4=_DEEPSEEK3_V4,
          fault=_SCORING),
    Model("deepseek3-mtp", "DeepseekV3ForCausalLM", "deepseek3", _DEEPSEEK3 | {
        "rope_parameters": _DEEPSEEK_YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}, "num_mtp_layers": 1}, extra=_mtp,
        float32=("e_score_correction_bias",), v4=_DEEPSEEK3_V4, fault=_SCORING),
    Model("glm4lite", "Glm4MoeLiteForCausalLM", "glm4", _LATENT | {"num_nextn_predict_layers": 1}, extra=_mtp,
          float32=("e_score_correction_bias",), v4=_GLM_V4, fault=_GATING),
    Model("glmdsa", "GlmMoeDsaForCausalLM", "glm4", _INDEXED | {"num_nextn_predict_layers": 1}, extra=_mtp,
          float32=("e_score_correction_bias",), v4=_GLM_V4, fault=_GATING),
    Model("glmdsa-shared", "GlmMoeDsaForCausalLM", "glm4", _INDEXED | {"indexer_types": ["full", "shared"]}, "float16",
          float32=("e_score_correction_bias",), fault=_GATING),
    Model("deepseek32", "DeepseekV32ForCausalLM", "deepseek3", _INDEXED | {
        "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_nextn_predict_layers": 1}, extra=_mtp,
        float32=("e_score_correction_bias",), v4=V4(add={"scoring_func": "sigmoid"}, fault=_BOS), fault=_BOS),
    Model("youtu", "YoutuForCausalLM", "gpt2", SMALL | {
        "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 32, "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 16, "v_head_dim": 32, "rope_parameters": THETA}),
    Model("deepseek", "DeepseekForCausalLM", "deepseek3", SMALL | {
        "model_type": "deepseek", "num_attention_heads": 4, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_shared_experts": 2, "norm_topk_prob": False, "scoring_func": "softmax",
        "moe_layer_freq": 1, "hidden_act": "silu", "rms_norm_eps": 1e-6, "attention_bias": False, "rope_scaling": None, "rope_theta": 10000,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16"}, shapes=tensors({
            "model.embed_tokens.weight": "vocab_size hidden_size",
            _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
            **{f"{_L}self_attn.{p}_proj.weight": "hidden_size hidden_size" for p in "qkvo"},
            **{f"{_F}{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()},
            _M + "gate.weight": "n_routed_experts hidden_size",
            **{f"{_M}experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
            **{f"{_M}shared_experts.{p}.weight": s.format("n_shared_experts*moe_intermediate_size") for p, s in _MLP.items()},
            "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size"}, e="n_routed_experts")),
    Model("kimivl", "KimiVLForConditionalGeneration", "deepseek3", {
        "model_type": "kimi_vl", "vision_config": {"model_type": "moonvit"}, "text_config": _KIMI}, float32=("e_score_correction_bias",),
        shapes=_kimi("multi_modal_projector.linear_1.bias")),
    Model("kimik25", "KimiK25ForConditionalGeneration", "deepseek3", {
        "model_type": "kimi_k25", "vision_config": {"model_type": "kimi_k25"}, "text_config": _KIMI}, float32=("e_score_correction_bias",),
        add={"vocab_size": 423}, shapes=_kimi("mm_projector.pre_norm.bias")),
    Model("glm5v", "Glm5vForConditionalGeneration", "glm4", {
        "model_type": "glm5v", "vision_config": {"model_type": "kimi_k25"}, "text_config": _GLM_TEXT}, float32=("e_score_correction_bias",),
        add={"vocab_size": 426}, shapes=_kimi("mm_projector.pre_norm.bias", **_INDEXER),
        fault=Fault("has no text model of the class", config={"architectures": ["GlmMoeDsaForCausalLM"], "num_hidden_layers": 2})),
    Model("youtuvl", "YoutuVLForConditionalGeneration", "gpt2", SMALL | {
        "model_type": "youtu_vl", "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 32,
        "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "rope_theta": 1600000, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False, "hidden_act": "silu", "rope_interleave": True, "attention_bias": False, "vision_config": {}},
        shapes=tensors(_latent() | {f"{_L}mlp.{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()} | {
            "siglip2.vision_model.post_layernorm.weight": "hidden_size", "merger.ln_q.weight": "hidden_size"})),
)
