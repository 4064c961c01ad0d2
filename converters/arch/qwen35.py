"""Qwen3.5 and its MoE: linear attention in most blocks, gated attention in the others, multi-token prediction behind.

The linear blocks keep their value heads in another order than HF, decays without their logarithm, and every norm but the
one inside linear attention is stored as an offset from one. Multi-token-prediction layers (`mtp.*`) become the last blocks.
Source: transformers `models/qwen3_5*`, llama.cpp `src/models/qwen35.cpp`, `qwen35moe.cpp`, `conversion/qwen.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .qwen import DEFAULTS, FFN, NO_BIAS

# -- blocks ---------------------------------------------------------------------------------------------------------


def mtp_layers(config: Config, names: Collection[str]) -> int:
    """How many multi-token-prediction layers a checkpoint has: fine-tuning drops them, config.json keeps the number."""
    parts = [name.removeprefix("model.").split(".") for name in names]
    return 1 + max((int(p[2]) for p in parts if p[:2] == ["mtp", "layers"] and p[2].isdecimal()), default=-1)


def layer_types(config: Config) -> list[str] | None:
    """What a config without layer types stands for."""
    interval = config.get("full_attention_interval") or 4
    blocks = range(1, 1 + config.get("num_hidden_layers", 0))
    return ["linear_attention" if b % interval else "full_attention" for b in blocks]


def recurrent_layers(config: Config) -> list[bool]:
    """For each block whether its attention is linear; that of multi-token prediction is not."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {"linear_attention", "full_attention"}:
        raise ValueError(f"{count} times linear_attention or full_attention is expected, not {kinds}")
    return [kind == "linear_attention" for kind in kinds] + [False] * config["mtp_num_hidden_layers"]


def recurrent_blocks(kv: Mapping[str, Any]) -> list[bool]:
    """The same from a file's keys, where some state only the interval."""
    count, main = kv["block_count"], main_blocks(kv)
    if "attention.recurrent_layers" in kv:
        stated = [bool(linear) for linear in kv["attention.recurrent_layers"]][:count]
        return stated + [False] * (count - len(stated))
    interval = kv.get("full_attention_interval") or 4
    return [b < main and (b + 1) % interval != 0 for b in range(count)]


BLOCKS = (
    Computed("block_count", lambda c: c["num_hidden_layers"] + c["mtp_num_hidden_layers"],
             "num_hidden_layers", main_blocks),
    Seen("mtp_num_hidden_layers", lambda facts: None, names=mtp_layers),
    Computed("nextn_predict_layers", lambda c: c["mtp_num_hidden_layers"] or None,
             "mtp_num_hidden_layers", lambda kv: kv.get("nextn_predict_layers", 0)),
    H("full_attention_interval", "full_attention_interval", default=4),
    Computed("attention.recurrent_layers", recurrent_layers, "layer_types", lambda kv: [
        "linear_attention" if linear else "full_attention" for linear in recurrent_blocks(kv)[: main_blocks(kv)]], BOOL),
)

# -- hyperparameters ------------------------------------------------------------------------------------------------


def value_rows(config: Config) -> int:
    key, value = config["linear_key_head_dim"], config["linear_value_head_dim"]
    if key != value or not isinstance(value, int):
        raise ValueError(f"linear_value_head_dim {value} is not linear_key_head_dim {key}, and the runtime knows one length")
    return value * config["linear_num_value_heads"]


# Rotary sections of time, height and width; GGUF has a fourth.
SECTIONS = Codec(lambda sections: [*sections, 0, 0, 0, 0][:4], lambda sections: [int(x) for x in sections[:3]])

HYBRID = (
    *BLOCKS, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, HEAD_KV, *HEAD_LENGTHS, RMS_EPS, Rope(),
    H("rope.dimension_sections", "rope_parameters.mrope_section", ValueType.INT32, codec=SECTIONS, default=[11, 11, 10]),
    Computed("rope.dimension_count", lambda c: int(c["head_dim"] * c["rope_parameters"]["partial_rotary_factor"]),
             "rope_parameters.partial_rotary_factor", lambda kv: kv["rope.dimension_count"] / kv["attention.key_length"]),
    H("ssm.conv_kernel", "linear_conv_kernel_dim"),
    H("ssm.state_size", "linear_key_head_dim"),
    H("ssm.group_count", "linear_num_key_heads"),
    H("ssm.time_step_rank", "linear_num_value_heads"),
    Computed("ssm.inner_size", value_rows,
             "linear_value_head_dim", lambda kv: kv["ssm.inner_size"] // kv["ssm.time_step_rank"]),
    Fixed("rope_parameters.mrope_interleaved", True), Fixed("attn_output_gate", True), NO_BIAS, TIED, SILU, VOCAB_ROWS,
)
HYBRID_MOE = (
    *HYBRID, *EXPERTS, EXPERT_LENGTH,
    H("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
)
HYBRID_DEFAULTS = {
    **DEFAULTS, "head_dim": 256, "partial_rotary_factor": 0.25, "layer_types": layer_types, "mtp_num_hidden_layers": 0,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32,
}
HYBRID_SIZES = {
    **SIZES,
    "main_blocks": main_blocks, "recurrent": recurrent_blocks,
    "query_key_value_rows": lambda hp: 2 * hp["ssm.group_count"] * hp["ssm.state_size"] + hp["ssm.inner_size"],
    "values_per_key": lambda hp: hp["ssm.time_step_rank"] // hp["ssm.group_count"],
}

# -- tensors --------------------------------------------------------------------------------------------------------


def linear(hp: Hparams, b: int) -> bool:
    return hp["recurrent"][b]


def full(hp: Hparams, b: int) -> bool:
    return not hp["recurrent"][b]


def of_mtp(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows of a block for the layers of multi-token prediction, `mtp.layers.{m}.*`."""
    return tuple(replace(row, gguf=tuple(Template(t.text.replace("{b}", "{m}")) for t in row.gguf),
                         hf=tuple(Template(t.text.replace(L, "mtp.layers.{m}.")) for t in row.hf)) for row in rows)


ONE = Add(1.0)


def offset(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows, and what is a norm among them stored as an offset from one."""
    return tuple(replace(row, ops=(ONE,)) if row.gguf[0].text.endswith("norm.weight") else row for row in rows)


# Value heads from grouped by key head (HF) to tiled (ggml's broadcast).
VALUES = Split("values_per_key", groups="ssm.group_count", join=True)
VALUES_BEHIND_KEYS = replace(VALUES, start="2*ssm.group_count*ssm.state_size")
VALUE_COLUMNS = replace(VALUES, columns=True)

NORMS = (
    R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", ONE, shape="embedding_length"),
    R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", ONE, shape="embedding_length"),
)
GATED_ATTN = where(
    full,
    R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="2*head_rows embedding_length"),
    R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", ONE, shape="head_length"),
    R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", ONE, shape="head_length"),
)
LINEAR_ATTN = where(
    linear,
    R("blk.{b}.attn_qkv.weight", L + "linear_attn.in_proj_qkv.weight", VALUES_BEHIND_KEYS,
      shape="query_key_value_rows embedding_length"),
    R("blk.{b}.attn_gate.weight", L + "linear_attn.in_proj_z.weight", VALUES, shape="ssm.inner_size embedding_length"),
    R("blk.{b}.ssm_conv1d.weight", L + "linear_attn.conv1d.weight", 
      Reshape(("query_key_value_rows", 1, "ssm.conv_kernel"), ("query_key_value_rows", "ssm.conv_kernel")), VALUES_BEHIND_KEYS,
      type="F32"),
    R("blk.{b}.ssm_dt.bias", L + "linear_attn.dt_bias", VALUES, shape="ssm.time_step_rank"),
    R("blk.{b}.ssm_a", L + "linear_attn.A_log", NegExp(), VALUES, shape="ssm.time_step_rank", hf_dtype="F32"),
    R("blk.{b}.ssm_beta.weight", L + "linear_attn.in_proj_b.weight", VALUES,
      shape="ssm.time_step_rank embedding_length"),
    R("blk.{b}.ssm_alpha.weight", L + "linear_attn.in_proj_a.weight", VALUES,
      shape="ssm.time_step_rank embedding_length"),
    R("blk.{b}.ssm_norm.weight", L + "linear_attn.norm.weight", shape="ssm.state_size", hf_dtype="F32"),
    R("blk.{b}.ssm_out.weight", L + "linear_attn.out_proj.weight", VALUE_COLUMNS,
      shape="embedding_length ssm.inner_size"),
)
SHARED_EXPERT = (
    R("blk.{b}.ffn_gate_inp_shexp.weight", L + "mlp.shared_expert_gate.weight", shape="1 embedding_length", type="F32"),
    R("blk.{b}.ffn_gate_shexp.weight", L + "mlp.shared_expert.gate_proj.weight",
      shape="expert_shared_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up_shexp.weight", L + "mlp.shared_expert.up_proj.weight",
      shape="expert_shared_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", L + "mlp.shared_expert.down_proj.weight",
      shape="embedding_length expert_shared_feed_forward_length"),
)
MTP = (  # what joins the first multi-token-prediction layer to the model
    R("blk.{m}.nextn.eh_proj.weight", "mtp.fc.weight", shape="embedding_length 2*embedding_length"),
    R("blk.{m}.nextn.enorm.weight", "mtp.pre_fc_norm_embedding.weight", ONE, shape="embedding_length"),
    R("blk.{m}.nextn.hnorm.weight", "mtp.pre_fc_norm_hidden.weight", ONE, shape="embedding_length"),
    R("blk.{m}.nextn.shared_head_norm.weight", "mtp.norm.weight", ONE, shape="embedding_length"),
)
OUT_NORM = (R("output_norm.weight", "model.norm.weight", ONE, shape="embedding_length"),)

TENSORS = (
    *EMBED, *NORMS, *GATED_ATTN, *LINEAR_ATTN, *FFN,
    *of_mtp(*NORMS, *GATED_ATTN, *FFN), *MTP, *OUT_NORM, *HEAD,
)
MOE_TENSORS = (
    *EMBED, *NORMS, *GATED_ATTN, *LINEAR_ATTN, *ROUTER, *FUSED_EXPERTS, *SEPARATE_EXPERTS, *SHARED_EXPERT,
    *of_mtp(*NORMS, *GATED_ATTN, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERT), *MTP,
    *OUT_NORM, *HEAD,
)

# -- architectures --------------------------------------------------------------------------------------------------

ALIASES = (("model.language_model.", "model."), ("model.mtp.", "mtp."))
VISION = {"model.visual.": None}
STACKS = {"b": Stack("main_blocks"), "m": Stack("nextn_predict_layers", after="b")}

QWEN35 = ArchSpec(
    "qwen35", ("Qwen3_5ForCausalLM",), "qwen3_5_text", hparams=(*HYBRID, FFN_LENGTH), tensors=TENSORS,
    defaults=HYBRID_DEFAULTS, stacks=STACKS, sizes=HYBRID_SIZES, aliases=ALIASES, example="Qwen/Qwen3.5-0.8B",
)

QWEN35_VL = Whole(
    "Qwen3_5ForConditionalGeneration", "qwen3_5", text=QWEN35, aliases=(), parts=VISION, example="Qwen/Qwen3.5-0.8B",
)

QWEN35MOE = ArchSpec(
    "qwen35moe", ("Qwen3_5MoeForCausalLM",), "qwen3_5_moe_text", hparams=HYBRID_MOE, tensors=MOE_TENSORS,
    defaults=HYBRID_DEFAULTS, stacks=STACKS, sizes=HYBRID_SIZES, aliases=ALIASES, example="Qwen/Qwen3.5-35B-A3B",
)

QWEN35MOE_VL = Whole(
    "Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", text=QWEN35MOE, aliases=(), parts=VISION,
    example="Qwen/Qwen3.5-35B-A3B",
)

SPECS = (QWEN35, QWEN35_VL, QWEN35MOE, QWEN35MOE_VL)
