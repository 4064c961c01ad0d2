"""dots3-note: latent attention of two geometries, one for blocks with a sliding window, one for those that an indexer
thins out, both with a gate per head and a norm on the rotary part of the key; DeepSeek's experts; one layer of multi-token
prediction.

The class rescales what the norms of low ranks give; GGUF has that in their weights.
Source: transformers `models/dots3_note`; llama.cpp `src/models/dots3note.cpp`, `conversion/dots3.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import (
    COMMON,
    DEFAULTS,
    INDEXER,
    INDEXER_SIZES,
    INDEXER_TENSORS,
    ROUTER_BIAS,
    SHARED_EXPERTS,
    V3_ROUTING,
    or_null,
)

A = L + "self_attn."


def slides(config: Config) -> list[bool]:
    """For each block whether it has a sliding window; layers of multi-token prediction have one."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) < count:
        raise ValueError(f"{count} layer_types are expected, one per block, not {len(kinds)}")
    return [kind == "sliding_attention" for kind in kinds[:count]]


def base(config: Config) -> float:
    """The rotary base of blocks without a window; nothing is scaled."""
    rope = config["rope_parameters"]
    if rope.get("rope_type", "default") != "default":
        raise UnsupportedError("rotary scaling of one kind of block has no GGUF form", file="config.json",
                               found=rope["rope_type"])
    return rope["rope_theta"]


def slid(hp: Mapping[str, Any]) -> list[bool]:
    stated = [bool(one) for one in hp["attention.sliding_window_pattern"]][: main_blocks(hp)]
    return stated + [True] * (hp["block_count"] - len(stated))


def heads(config: Config) -> list[int]:
    kinds = slides(config) + [True] * config["num_nextn_predict_layers"]
    return [config["swa_num_attention_heads" if slide else "num_attention_heads"] for slide in kinds]


def heads_of(kv: Mapping[str, Any], slide: bool) -> int | None:
    counts = kv["attention.head_count"]
    counts = counts if isinstance(counts, list) else [counts] * kv["block_count"]
    return next((n for n, s in zip(counts, slid(kv), strict=False) if s == slide), None)


def by_block(full: str, sliding: str) -> Callable[[Hparams], list[int]]:
    return lambda hp: [hp[sliding] if slide else hp[full] for slide in slid(hp)]


def lengths(part: str) -> Callable[[Hparams], list[int]]:
    """A length of each block's heads: `key` or `value`."""
    return by_block(f"attention.{part}_length_mla", f"attention.{part}_length_mla_swa")


def each(size: Callable[[Mapping[str, int]], int]) -> Callable[[Hparams], list[int]]:
    """A size of each block from its heads, their lengths, and its rank."""
    def sizes(hp: Hparams) -> list[int]:
        columns = {"heads": hp["attention.head_count"], "key": lengths("key")(hp), "value": lengths("value")(hp),
                   "rank": by_block("attention.kv_lora_rank", "attention.kv_lora_rank_swa")(hp)}
        return [size({name: column[b] for name, column in columns.items()} | {"rotary": hp["rope.dimension_count"]})
                for b in range(hp["block_count"])]

    return sizes


def indexed(hp: Hparams, b: int) -> bool:
    return not slid(hp)[b]


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"] or predicting(hp, b)


def sparse(hp: Hparams, b: int) -> bool:
    return not dense(hp, b)


SWA = (
    H("attention.kv_lora_rank_swa", "swa_kv_lora_rank"),
    Computed("attention.key_length_swa", lambda c: c["swa_kv_lora_rank"] + c["swa_qk_rope_head_dim"]),
    Computed("attention.value_length_swa", lambda c: c["swa_kv_lora_rank"]),
    Computed("attention.key_length_mla_swa", lambda c: c["swa_qk_nope_head_dim"] + c["swa_qk_rope_head_dim"],
             "swa_qk_nope_head_dim", lambda kv: kv["attention.key_length_mla_swa"] - kv["rope.dimension_count"]),
    H("attention.value_length_mla_swa", "swa_v_head_dim"),
)

DOTS3_NOTE = ArchSpec(
    "dots3note", ("Dots3NoteTextForCausalLM",), "dots3_note_text",
    hparams=(
        *without(COMMON, "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "rope_parameters",
                 "rope.scaling.yarn_log_multiplier", "rope_parameters.mscale"),
        *without(V3_ROUTING, "num_nextn_predict_layers", "rope_interleave"), *NEXTN_BLOCKS,
        Computed("attention.head_count", heads, "num_attention_heads", lambda kv: heads_of(kv, False)),
        *(Seen(key, lambda facts: heads_of(facts.kv, True)) for key in ("swa_num_attention_heads", "swa_num_key_value_heads")),
        Seen("swa_head_dim", lambda facts: facts.kv["attention.key_length_mla_swa"]),
        Computed("attention.head_count_kv", lambda c: 1, "num_key_value_heads", lambda kv: heads_of(kv, False)),
        H("attention.sliding_window", ("sliding_window_size", "sliding_window")),
        Computed("attention.sliding_window_pattern", slides, "layer_types", lambda kv: [
            "sliding_attention" if slide else "full_attention" for slide in slid(kv)[: main_blocks(kv)]], BOOL),
        Computed("rope.freq_base", base, "rope_theta", lambda kv: short(kv["rope.freq_base"]), F32),
        H("rope.freq_base_swa", "swa_rope_theta", F32), *SWA, *INDEXER,
        Computed("attention.indexer.types", lambda c: [not slide for slide in slides(c)], type=BOOL),
        Fixed("swa_qk_rope_head_dim", lambda c: c["qk_rope_head_dim"], refuse=True),
        Fixed("swa_q_lora_rank", lambda c: c["q_lora_rank"], refuse=True),
        *(Fixed(key, value, refuse=True) for key, value in {
            "n_group": 1, "topk_group": 1, "use_dsa": True, "apply_mla_qkv_lora_rescale": True, "k_rope_only_layernorm": True,
            "attention_gate_type": "headwise", "swa_attention_gate_type": "headwise", "use_dynamic_rsf": False}.items()),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q_a.weight", A + "q_a_proj.weight", shape="attention.q_lora_rank embedding_length",
          no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_q_a_norm.weight", A + "q_a_layernorm.weight", Scale("query_rescale"), shape="attention.q_lora_rank"),
        R("blk.{b}.attn_q_b.weight", A + "q_b_proj.weight", shape="query_rows attention.q_lora_rank", no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_kv_a_mqa.weight", A + "kv_a_proj_with_mqa.weight", shape="latent_rows embedding_length",
          no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_kv_a_norm.weight", A + "kv_a_layernorm.weight", Scale("key_value_rescale"), shape="rank"),
        R("blk.{b}.attn_k_norm.weight", A + "k_rope_only_layernorm.weight", shape="rope.dimension_count"),
        R(("blk.{b}.attn_k_b.weight", "blk.{b}.attn_v_b.weight"), A + "kv_b_proj.weight",
          MlaKv("attention.head_count", "unrotated_length", "value_length"), shape="key_value_rows rank", no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_gate.weight", A + "g_proj.weight", shape="attention.head_count embedding_length"),
        R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length value_rows"),
        *(replace(row, when=indexed) for row in INDEXER_TENSORS), *where(dense, *FFN),
        *where(sparse, *ROUTER, *ROUTER_BIAS, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS),
        R("blk.{m}.nextn.embed_tokens.weight", "model.mtp.embed_tokens.weight", need=False,
          shape="vocab_size embedding_length"),
        *NEXTN, *OUT_NORM,
        R("output.weight", "lm_head.weight", need=False, shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    stacks={"b": Stack(), "n": Stack("main_blocks"), "m": Stack("nextn_predict_layers", after="n")},
    sizes={
        **INDEXER_SIZES, "main_blocks": main_blocks, "rank": each(lambda s: s["rank"]), "value_length": lengths("value"),
        "query_rescale": lambda hp: math.sqrt(hp["embedding_length"] / hp["attention.q_lora_rank"]),
        "key_value_rescale": lambda hp: [math.sqrt(hp["embedding_length"] / rank) for rank in hp["rank"]],
        "query_rows": each(lambda s: s["heads"] * s["key"]), "latent_rows": each(lambda s: s["rank"] + s["rotary"]),
        "unrotated_length": each(lambda s: s["key"] - s["rotary"]), "value_rows": each(lambda s: s["heads"] * s["value"]),
        "key_value_rows": each(lambda s: s["heads"] * (s["key"] - s["rotary"] + s["value"])),
    },
    defaults={
        **DEFAULTS, "rope_theta": 80000000.0, "max_position_embeddings": 524288, "rms_norm_eps": 1e-5,
        "q_lora_rank": or_null("q_lora_rank", 1024), "num_nextn_predict_layers": 0, "first_k_dense_replace": 1,
        "norm_topk_prob": True, "n_shared_experts": 1, "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 64,
        "sliding_window_size": 512, "swa_rope_theta": 50000.0, "swa_num_attention_heads": 64, "swa_q_lora_rank": 1024,
        "swa_kv_lora_rank": 1024, "swa_qk_nope_head_dim": 192, "swa_v_head_dim": 128,
        "swa_qk_rope_head_dim": same_as("qk_rope_head_dim"),
    },
    idle=predicting, example="dots-studio/dots3-note-prev",
)
PARTS = dict.fromkeys(f"{start}{part}." for start in ("", "model.") for part in (
    "vision_encoder", "audio_encoder", "audio_adapter", "vision_tower", "audio_tower"))
WHOLE = Whole("Dots3NoteForConditionalGeneration", "dots3_note", DOTS3_NOTE, (("model.language_model.", "model."),), PARTS,
              example="dots-studio/dots3-note-prev")

SPECS = (DOTS3_NOTE, WHOLE, replace(WHOLE, name="Dots3NoteForCausalLM"))
