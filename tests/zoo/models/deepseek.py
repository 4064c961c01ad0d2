"""DeepSeek-V2 and V3, with and without a head for multi-token prediction."""

# fmt: off
from .rows import SMALL, THETA, V4, Fault, Model, layer_like

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
)
