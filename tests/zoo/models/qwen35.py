"""Qwen3.5 and Qwen3.5-MoE, with and without a vision part and a head for multi-token prediction."""

# fmt: off
from collections.abc import Callable

from .rows import RECURRENT, SMALL, Fault, Model, layer_like


def mtp(prefix: str) -> Callable:
    """The multi-token-prediction head: one more full-attention layer and what joins it to the model."""
    h = 64
    more = (("mtp.fc.weight", (h, 2 * h)), ("mtp.norm.weight", (h,)),
            ("mtp.pre_fc_norm_embedding.weight", (h,)), ("mtp.pre_fc_norm_hidden.weight", (h,)))
    return layer_like(f"{prefix}layers.3.", "mtp.layers.0.", *more)


_MROPE = {"rope_type": "default", "rope_theta": 10000000.0, "partial_rotary_factor": 0.25, "mrope_section": [2, 1, 1],
          "mrope_interleaved": True}
_QWEN35 = SMALL | {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rope_parameters": _MROPE,
                   "linear_conv_kernel_dim": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2,
                   "linear_num_value_heads": 4}
_QWEN35_MOE = {k: v for k, v in _QWEN35.items() if k != "intermediate_size"} | {
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}
_QWEN35_EYE = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4,
               "num_position_embeddings": 16, "deepstack_visual_indexes": []}
_QWEN35_F32 = ("linear_attn.A_log", "linear_attn.norm.weight")

_NO_HEAD = Fault("asserts that there is a multi-token-prediction head", options=("--no-nextn",))
# -exp of a float32 decay is rounded as torch's vector code does: 1 ulp off in one value of a hundred
_ROUNDED = Fault(keys=("blk.0.ssm_a",))

ROWS = (
    Model("qwen35", "Qwen3_5ForCausalLM", "qwen35", _QWEN35, float32=_QWEN35_F32, zero_norms=True, tolerance=RECURRENT, rounded=True, fault=_NO_HEAD),
    Model("qwen35-mtp", "Qwen3_5ForCausalLM", "qwen35", _QWEN35, float32=_QWEN35_F32, extra=mtp("model."), zero_norms=True,
          add={"mtp_num_hidden_layers": 1}, tolerance=RECURRENT, rounded=True),
    Model("qwen35-vl", "Qwen3_5ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35 | {"tie_word_embeddings": True}, "vision_config": _QWEN35_EYE, "tie_word_embeddings": True},
        float32=_QWEN35_F32, extra=mtp("model.language_model."), add={"mtp_num_hidden_layers": 1}, zero_norms=True,
          tolerance=RECURRENT, rounded=True, fault=_ROUNDED),
    Model("qwen35moe", "Qwen3_5MoeForCausalLM", "qwen35", _QWEN35_MOE, extra=mtp("model."), add={"mtp_num_hidden_layers": 1},
          zero_norms=True, tolerance=RECURRENT, rounded=True),
    Model("qwen35moe-vl", "Qwen3_5MoeForConditionalGeneration", "qwen35", {"text_config": _QWEN35_MOE, "vision_config": _QWEN35_EYE},
          extra=mtp("model.language_model."), add={"mtp_num_hidden_layers": 1}, zero_norms=True, layout="fused",
          tolerance=RECURRENT, rounded=True),
)
