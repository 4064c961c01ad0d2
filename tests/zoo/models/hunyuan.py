"""Hunyuan, dense and of experts; Hy3 with a layer of multi-token prediction."""

# fmt: off
from .rows import DECODER, THETA, V4, Fault, Model, layer_like

_ALPHA = {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 1000.0, "factor": 1.0}
_HUNYUAN = DECODER | {"head_dim": 32, "max_position_embeddings": 32768, "eod_token_id": None}
_RANKS = Fault("wants a rank file")
_mtp = layer_like("model.layers.1.", "model.layers.2.", ("model.layers.2.eh_proj.weight", (64, 128)),
                  *((f"model.layers.2.{name}.weight", (64,)) for name in ("enorm", "hnorm", "final_layernorm")))

ROWS = (
    Model("hunyuan", "HunYuanDenseV1ForCausalLM", "gpt2", _HUNYUAN | {"eod_token_id": 7, "rope_parameters": _ALPHA, "tie_word_embeddings": True}, v4=V4(
        rope_key="type")),
    Model("hunyuan-plain", "HunYuanDenseV1ForCausalLM", "gpt2", _HUNYUAN | {"rope_parameters": THETA}, "float16"),
    Model("hunyuan-vl", "HunYuanVLForConditionalGeneration", "gpt2", {
        "text_config": _HUNYUAN | {"eod_token_id": 7, "rope_parameters": _ALPHA | {"mrope_section": [4, 4, 4, 4]},
                                   "tie_word_embeddings": True}, "tie_word_embeddings": True,
        "vision_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "patch_size": 4, "out_hidden_size": 64, "max_image_size": 32}}, v4=V4(add={
                              "rope_scaling": {"type": "xdrope", "alpha": 1000.0, "factor": 1.0, "xdrope_section": [4, 4, 4, 4]}})),
    Model("hunyuan-moe", "HunYuanMoEV1ForCausalLM", "gpt2", _HUNYUAN | {
        "num_experts": 4, "moe_topk": 2, "rope_parameters": _ALPHA}, fault=_RANKS, v4=V4(
            rope_key="type", fault=_RANKS, add={"moe_topk": [2, 2], "moe_intermediate_size": [96, 96], "num_shared_expert": [1, 1]})),
    Model("hy3", "HYV3ForCausalLM", "gpt2", DECODER | {
        "head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_nextn_predict_layers": 1,
        "rope_parameters": THETA | {"rope_theta": 11158840.0}}, extra=_mtp, float32=("expert_bias",), v4=V4(
            add={"route_norm": True, "first_k_dense_replace": 1})),
)
