"""Phi-1 to 4. Up to Phi-2, attention and feed-forward stand side by side behind one norm, with biases throughout; from Phi-3
on, fused projections stay fused and longrope scaling is two factor tensors; Phi-3.5-MoE has biases and separate projections.

Source: transformers `models/phi*`; llama.cpp `src/models/phi2.cpp`, `phi3.cpp`, `phimoe.cpp`, `conversion/phi.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules.words import *
from .common import *


def rotary_rows(config: Config) -> int:
    """The rotary share of the head."""
    share = full_attention_rope(config).get("partial_rotary_factor", 1.0)
    return int(float(share) * config["hidden_size"]) // config["num_attention_heads"]


def rotary_share(kv: Mapping[str, Any]) -> float | None:
    head = kv["embedding_length"] // kv["attention.head_count"]
    rotary = kv.get("rope.dimension_count", head)
    return rotary / head if rotary != head else None


def stated_share(kv: Mapping[str, Any]) -> float | None:
    """The same for classes that turn a part of the head where config.json says nothing."""
    return rotary_share(kv) or 1.0


TURNED = Computed("rope.dimension_count", rotary_rows, "rope_parameters.partial_rotary_factor", stated_share)
ROPE_SHARE = Computed("rope.dimension_count", rotary_rows, "rope_parameters.partial_rotary_factor", rotary_share)

PHI3 = ArchSpec(
    "phi3", ("Phi3ForCausalLM",), "phi3",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_scaling=False), ROPE_SHARE, RMS_EPS, TIED, SILU, VOCAB_ROWS,
        H("rope.scaling.original_context_length", ("original_max_position_embeddings",
                                                   "rope_parameters.original_max_position_embeddings")),
        # No window is stored as 0, by which the runtime tells Phi-4 from Phi-3.
        H("attention.sliding_window", "sliding_window", default=0, codec=Codec(int, lambda n: n or None)),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_qkv.weight", L + "self_attn.qkv_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", L + "mlp.gate_up_proj.weight", shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    derived=LONGROPE_FACTORS,
    defaults={**DECODER_DEFAULTS, "original_max_position_embeddings": 4096},
    sizes={
        "qkv_rows": lambda hp: (hp["attention.head_count"] + 2 * hp["attention.head_count_kv"])
        * (hp["embedding_length"] // hp["attention.head_count"]),
    },
    example="microsoft/Phi-3-mini-4k-instruct",
)

PHI2 = ArchSpec(
    "phi2", ("PhiForCausalLM",), "phi",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_base=False), TURNED, LN_EPSILON, VOCAB_ROWS,
        Fixed("hidden_act", "gelu_new", also=("gelu_pytorch_tanh",)),
        Fixed("tie_word_embeddings", False, refuse=True), Fixed("qk_layernorm", False, refuse=True),
    ),
    tensors=(
        *EMBED,
        *with_bias(
            R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length"), *ATTN[:3],
            R("blk.{b}.attn_output.{p}", L + "self_attn.dense.{p}", shape="embedding_length head_rows"),
            R("blk.{b}.ffn_up.{p}", L + "mlp.fc1.{p}", shape="feed_forward_length embedding_length"),
            R("blk.{b}.ffn_down.{p}", L + "mlp.fc2.{p}", shape="embedding_length feed_forward_length"),
            R("output_norm.{p}", "model.final_layernorm.{p}", shape="embedding_length"),
            R("output.{p}", "lm_head.{p}", shape="vocab_size embedding_length"),
        ),
    ),
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "partial_rotary_factor": 0.5, "layer_norm_eps": 1e-5},
    sizes=SIZES, ignore=(Template(L + "self_attn.rotary_emb.inv_freq"),), example="microsoft/phi-2",
)

MOE, E = L + "block_sparse_moe.", L + "mlp.experts."


def mscale(config: Config) -> float | None:
    """What cosines and sines are multiplied with on short texts."""
    return full_attention_rope(config).get("short_mscale")


PHIMOE = ArchSpec(
    "phimoe", ("PhimoeForCausalLM", "PhiMoEForCausalLM"), "phimoe",
    hparams=(
        *SHAPE, HEAD_KV, *LOCAL_EXPERTS, Rope(write_scaling=False), ROPE_SHARE, RMS_EPS, SILU, VOCAB_ROWS,
        *PHI3.hparams[-2:],
        Computed("rope.scaling.attn_factor", mscale, type=F32),
        *(Seen(f"rope_parameters.{length}_mscale", lambda found: short(found.kv["rope.scaling.attn_factor"])
               if "rope.scaling.attn_factor" in found.kv else None) for length in ("short", "long")),
        Fixed("attention_bias", True, refuse=True), Fixed("lm_head_bias", True, refuse=True),
        Fixed("tie_word_embeddings", False, refuse=True),
        Note("the runtime norms by the root mean square, the class around the mean; and it mixes experts by all their scores",
             lambda c: True),
    ),
    tensors=(
        *EMBED,
        *with_bias(
            R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length"), *ATTN,
            R("blk.{b}.ffn_norm.{p}", L + "post_attention_layernorm.{p}", shape="embedding_length"),
            R("output_norm.{p}", "model.norm.{p}", shape="embedding_length"),
            R("output.{p}", "lm_head.{p}", shape="vocab_size embedding_length"),
        ),
        R("blk.{b}.ffn_gate_inp.weight", MOE + "gate.weight", shape="expert_count embedding_length", type="F32"),
        R("blk.{b}.ffn_gate_exps.weight", MOE + "experts.{e}.w1.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up_exps.weight", MOE + "experts.{e}.w3.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", MOE + "experts.{e}.w2.weight", shape="embedding_length feed_forward_length"),
        R("blk.{b}.ffn_gate_inp.weight", L + "mlp.router.weight", type="F32",  # as transformers 5 holds them
          shape="expert_count embedding_length"),
        R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), E + "gate_up_proj", Split((1, 1)),
          shape="expert_count 2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", E + "down_proj", shape="expert_count embedding_length feed_forward_length"),
    ),
    derived=LONGROPE_FACTORS, sizes=SIZES, example="microsoft/Phi-3.5-MoE-instruct",
    defaults={"num_key_value_heads": 8, "rope_theta": 1000000.0, "original_max_position_embeddings": 4096,
              "num_local_experts": 16, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5},
)

SPECS = (PHI2, PHI3, PHIMOE)
