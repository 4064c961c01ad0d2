"""Granite 4 and Bamba: Mamba 2 in most blocks, attention in those with key-value heads; Granite's often without positions.

Granite 4's class also holds models that only attend, which the runtime knows as Granite. Its shared expert is the whole
feed-forward where there are no others, which GGUF calls otherwise.
Source: transformers `models/granitemoehybrid`, `bamba`; llama.cpp `src/models/granite-hybrid.cpp`, `conversion/granite.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .granite import EXPERT_ROWS, GRANITE, SCALES, SHARED_LENGTH, SHARED_ROWS, S
from .lfm2 import LFM2_SIZES, attends, convolves, listed
from .llama import INV_FREQ, ROPE_DIM
from .mamba import SIZES_2, mamba2


def attention(config: Config) -> list[bool]:
    """Whether each block attends; transformers 4 and 5 call that otherwise."""
    blocks = range(config["num_hidden_layers"])
    kinds = config.get("layer_types") or [
        "attention" if b in (config.get("attn_layer_indices") or ()) else "mamba" for b in blocks]
    if len(kinds) != len(blocks):
        raise ValueError(f"{len(blocks)} layer types are expected, not {len(kinds)}")
    return [kind in ("attention", "full_attention") for kind in kinds]


def heads_by_block(config: Config) -> list[int]:
    return [config["num_key_value_heads"] * attends for attends in attention(config)]


def kinds(facts: GgufFacts) -> list[str]:
    return ["attention" if heads else "mamba" for heads in listed(facts.kv)]


def turns(config: Config) -> bool:
    return config.get("position_embedding_type") == "rope"


def feed_forward(config: Config) -> int:
    """Rows of an expert, or of the shared one where there are no others."""
    return config["intermediate_size" if config["num_local_experts"] else "shared_intermediate_size"]


SSM = (
    BLOCK_COUNT, EMBEDDING_LENGTH, HEAD_COUNT, Rope(), RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, TIED, SILU,
    Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: max(listed(kv))),
    H("ssm.conv_kernel", "mamba_d_conv"), H("ssm.state_size", "mamba_d_state"), H("ssm.group_count", "mamba_n_groups"),
    H("ssm.time_step_rank", "mamba_n_heads"),
    Computed("ssm.inner_size", lambda c: c["mamba_expand"] * c["hidden_size"],
             "mamba_expand", lambda kv: kv["ssm.inner_size"] // kv["embedding_length"]),
    Seen("mamba_d_head", lambda found: found.kv["ssm.inner_size"] // found.kv["ssm.time_step_rank"]),
    Seen("attention_bias", lambda found: any(name.endswith("attn_q.bias") for name in found.tensors)),
    Fixed("mamba_conv_bias", True, refuse=True), Fixed("mamba_proj_bias", False, refuse=True),
)
GRANITE_4 = (
    *SSM, *SCALES, ROPE_DIM, H("expert_count", "num_local_experts", default=0),
    H("expert_used_count", "num_experts_per_tok", default=0), H(SHARED_LENGTH, "shared_intermediate_size"),
    Computed("feed_forward_length", feed_forward, "intermediate_size", lambda kv: kv["feed_forward_length"]),
    Computed("context_length", lambda c: c["max_position_embeddings"] if turns(c) else 2**20,  # without positions, any
             "max_position_embeddings", lambda kv: kv["context_length"]),
    Computed("rope.scaling.finetuned", turns, type=BOOL),  # whether the runtime turns at all
    Seen("position_embedding_type", lambda found: "rope" if found.kv.get("rope.scaling.finetuned", True) else None),
    Seen("layer_types", kinds),
)
SSM_ROWS = where(convolves, *mamba2(L + "mamba.", norm=True))
ATTN_OR_SSM = (*where(attends, *ATTN_ROPE), *SSM_ROWS)
DENSE = (
    R(("blk.{b}.ffn_gate.weight", "blk.{b}.ffn_up.weight"), S + "input_linear.weight", Split((1, 1)),
      shape="2*feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", S + "output_linear.weight", shape="embedding_length feed_forward_length"),
)
DEFAULTS = {"num_key_value_heads": same_as("num_attention_heads"), "rms_norm_eps": 1e-6, "num_local_experts": 8,
            "num_experts_per_tok": 2, "mamba_expand": 2, "mamba_d_conv": 4, "mamba_n_groups": 1}
HYBRID_SIZES = {**SIZES, **SIZES_2, "head_kv_rows": LFM2_SIZES["head_kv_rows"]}

GRANITE_H = ArchSpec(
    "granitehybrid", ("GraniteMoeHybridForCausalLM",), "granitemoehybrid", hparams=GRANITE_4,
    tensors=(*EMBED, *NORMS, *ATTN_OR_SSM, *DENSE, *OUT_NORM, *HEAD), defaults=DEFAULTS, sizes=HYBRID_SIZES, ignore=INV_FREQ,
    example="ibm-granite/granite-4.0-h-1b", fits=lambda c: not all(attention(c)) and not c.get("num_local_experts", 8),
)
GRANITE_H_MOE = replace(
    GRANITE_H, tensors=(*EMBED, *NORMS, *ATTN_OR_SSM, *EXPERT_ROWS, *SHARED_ROWS, *OUT_NORM, *HEAD),
    example="ibm-granite/granite-4.0-h-tiny", fits=lambda c: not all(attention(c)) and c.get("num_local_experts", 8) > 0,
)
GRANITE_4_DENSE = replace(
    GRANITE_H, name="granite", tensors=(*EMBED, *NORMS, *ATTN_ROPE, *DENSE, *OUT_NORM, *HEAD), derived=(LLAMA3_FREQS,),
    example="ibm-granite/granite-4.0-1b", fits=lambda c: all(attention(c)) and not c.get("num_local_experts", 8),
)

F, PART = L + "feed_forward.", RopePermute("head_length", turned="rope.dimension_count")  # half of a head turns
BAMBA = ArchSpec(
    "granitehybrid", ("BambaForCausalLM",), "bamba",
    hparams=(
        *SSM, FFN_LENGTH, CONTEXT_LENGTH, Const("rope.scaling.finetuned", True, BOOL),
        Computed("rope.dimension_count",
                 lambda c: c.get("attn_rotary_emb") or c["hidden_size"] // c["num_attention_heads"] // 2,
                 "attn_rotary_emb", lambda kv: kv["rope.dimension_count"]),
        Seen("attn_layer_indices", lambda facts: [b for b, heads in enumerate(listed(facts.kv)) if heads]),
        Fixed("mlp_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, NORMS[0], R("blk.{b}.ffn_norm.weight", L + "pre_ff_layernorm.weight", shape="embedding_length"),
        *where(attends,
               R("blk.{b}.attn_q.{p}", L + "self_attn.q_proj.{p}", PART, shape="head_rows embedding_length"),
               R("blk.{b}.attn_k.{p}", L + "self_attn.k_proj.{p}", PART, shape="head_kv_rows embedding_length"),
               *ATTN_ROPE[2:]),
        *SSM_ROWS,
        R("blk.{b}.ffn_gate.weight", F + "gate_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", F + "up_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", F + "down_proj.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "model.final_layernorm.weight", shape="embedding_length"), *HEAD,
    ),
    sizes=HYBRID_SIZES, ignore=INV_FREQ, example="ibm-ai-platform/Bamba-9B-v2",
    defaults={"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "mamba_expand": 2, "mamba_d_conv": 4, "mamba_n_groups": 1,
              "partial_rotary_factor": 0.5},
)


def without_scales(facts: GgufFacts) -> bool:
    return "granitehybrid.embedding_scale" not in facts.keys


def by_block(facts: GgufFacts) -> bool:
    """Granite 4's converter writes the heads of each block, Granite's one number."""
    return facts.keys.get("granite.attention.head_count_kv", 0) is None  # a list


BACK = {
    "granitehybrid": choice(GRANITE_H, (BAMBA, without_scales), (GRANITE_H_MOE, has("blk.0.ffn_gate_inp.weight"))),
    "granite": choice(GRANITE, (GRANITE_4_DENSE, says("granite.rope.scaling.finetuned")), (GRANITE_4_DENSE, by_block)),
}
SPECS = (GRANITE_H, GRANITE_H_MOE, GRANITE_4_DENSE, BAMBA)
