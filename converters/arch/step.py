"""Step 3.5 and the language model of Step 3.7: a mixture of experts with gated attention, two kinds of it by block.

Blocks with sliding attention have heads of their own and turn whole heads, the others half of each; config.json lists
all that per block, those of multi-token prediction behind. Every norm is stored as an offset from one.
Source: transformers `models/step3p7`, the repositories' own code; llama.cpp `src/models/step35.cpp`, `conversion/step3.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..rules.rope import llama3_divisors
from ..rules.spec import Derived
from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern
from .llama import MULTIMODAL
from .multimodal import parts
from .qwen import ATTN, FFN
from .qwen35 import offset

KINDS = {"full_attention": False, "sliding_attention": True}
GATING = {"softmax": 1, "sigmoid": 2}


def padded(values: Any, config: Config, filler: Any) -> Any:
    """A value per block; config.json may leave out those of multi-token prediction."""
    main = config["num_hidden_layers"]
    count = main + config["num_nextn_predict_layers"]
    if len(values) < main:
        raise ValueError(f"{main} values are expected, one per block, not {len(values)}")
    return [*values, *[filler] * count][:count]


def slides(config: Config) -> list[bool]:
    return [KINDS[kind] for kind in padded(config["layer_types"], config, "full_attention")]


def per_kind(key: str) -> Callable[[Config], list[int]]:
    """A number of the blocks with full attention, and that of the others."""

    def value(config: Config) -> list[int]:
        other = config.get("attention_other_setting") or {}
        if other.get("head_dim", config["head_dim"]) != config["head_dim"]:
            raise ValueError("the runtime knows one head_dim")
        return [(config | other if slide else config)[key] for slide in slides(config)]

    return value


def of_kind(kv: Mapping[str, Any], key: str, slide: bool) -> int:
    """The number of the first block of this kind; of any, where there is none."""
    counts = kv[key] if isinstance(kv[key], list) else [kv[key]] * kv["block_count"]
    return next((n for n, s in zip(counts, pattern(4, kv), strict=False) if s == slide), counts[0])


def others(facts: GgufFacts) -> dict[str, Any]:
    kv = facts.kv
    return {"attention_type": "sliding_attention", "num_attention_heads": of_kind(kv, "attention.head_count", True),
            "num_attention_groups": of_kind(kv, "attention.head_count_kv", True), "head_dim": kv["attention.key_length"]}


def theta(slide: bool) -> Callable[[Config], float | None]:
    """The rotary base of blocks of this kind; None of sliding ones where config.json has one base for all."""

    def value(config: Config) -> float | None:
        rope = config["rope_parameters"]
        if rope["rope_type"] not in ("default", "llama3"):
            raise UnsupportedError("rotary scaling of one kind of block has no GGUF form", file="config.json",
                                   expected="llama3", found=rope["rope_type"])
        bases = rope["rope_theta"]
        if not isinstance(bases, list):
            return None if slide else bases
        found = {base for base, s in zip(padded(bases, config, None), slides(config), strict=True) if s == slide} - {None}
        if len(found) > 1:
            raise ValueError("rope_theta must be one number for each kind of block")
        return found.pop() if found else None

    return value


def bases(kv: Mapping[str, Any]) -> Any:
    full = short(kv["rope.freq_base"])
    if "rope.freq_base_swa" not in kv:
        return full
    return [short(kv["rope.freq_base_swa"]) if slide else full for slide in pattern(4, kv)]


def _make_factors(config: Config, hp: Hparams) -> np.ndarray | None:
    """Divisors of the half of a head that turns with full attention; 1 for the rest."""
    half = hp["attention.key_length"] // 2
    rope = {**config["rope_parameters"], "rope_theta": theta(False)(config)}
    made = llama3_divisors({"rope_parameters": rope}, {"rope.dimension_count": half}, np.float64)
    return None if made is None else np.concatenate([made, np.ones(half - len(made), np.float32)])


def _recover_factors(divisors: np.ndarray, found: GgufFacts, config: Config) -> None:
    rope = {"rope_type": "default", "rope_theta": short(found.kv["rope.freq_base"])}
    LLAMA3_FREQS.recover(divisors[: len(divisors) // 2], found, {"rope_parameters": rope})
    config["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}


def leading(config: Config) -> int:
    """Dense blocks, all of which lie in front of those with experts."""
    named = config["moe_layers_enum"]
    blocks = sorted(int(b) for b in (named.split(",") if isinstance(named, str) else named))
    if not blocks or [b for b in blocks if b < config["num_hidden_layers"]] != [*range(blocks[0], config["num_hidden_layers"])]:
        raise ValueError(f"dense blocks in front of sparse ones are expected, not {named}")
    return blocks[0]


def listed(blocks: range) -> str:
    return ",".join(map(str, blocks))


def limits(key: str, hf: str) -> HparamRule:
    """What gates and values of each block are clamped to, 0 for not at all."""
    return Computed(key, lambda c: padded([v or 0.0 for v in c[hf]], c, 0.0) if c.get(hf) else None, hf,
                    lambda kv: [short(v) for v in kv[key]] if key in kv else None, F32)


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"]


def sparse(hp: Hparams, b: int) -> bool:
    return not dense(hp, b) and not predicting(hp, b)


def its_names(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows of multi-token prediction, whose heads have other names here."""
    def its_name(name: Template) -> Template:
        return Template(name.text.replace("shared_head.", "transformer.shared_head.").replace(".head.", ".output."))

    return tuple(replace(row, hf=tuple(its_name(name) for name in row.hf)) for row in rows)


HEADS = its_names(*NEXTN)

STEP = ArchSpec(
    "step35", ("Step3p5ForCausalLM",), "step3p5",
    hparams=(
        *NEXTN_BLOCKS, CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, *HEAD_LENGTHS, RMS_EPS, VOCAB_ROWS, SILU,
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", slides, "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
        Computed("attention.head_count", per_kind("num_attention_heads"), "num_attention_heads",
                 lambda kv: of_kind(kv, "attention.head_count", False)),
        Computed("attention.head_count_kv", per_kind("num_attention_groups"), "num_attention_groups",
                 lambda kv: of_kind(kv, "attention.head_count_kv", False)),
        Seen("attention_other_setting", others),
        Computed("rope.freq_base", theta(False), "rope_theta", bases, F32),
        Computed("rope.freq_base_swa", theta(True), type=F32),
        Fixed("partial_rotary_factors", lambda c: [1.0 if KINDS[kind] else 0.5 for kind in c["layer_types"]], refuse=True),
        Fixed("yarn_only_types", ["full_attention"], refuse=True), Fixed("zero_centered", True, refuse=True),
        Fixed("sink", False, refuse=True), Fixed("tie_word_embeddings", False, refuse=True),
        Seen("use_head_wise_attn_gate", has("blk.0.attn_gate.weight")),
        Seen("use_moe_router_bias", lambda facts: any(".exp_probs_b." in name for name in facts.tensors)),
        H("expert_count", "moe_num_experts"), H("expert_used_count", "moe_top_k"), EXPERT_LENGTH,
        H("expert_shared_feed_forward_length", ("share_expert_dim", "share_expert_dims")),
        H("expert_weights_scale", "moe_router_scaling_factor", F32, default=1.0),
        H("expert_weights_norm", "norm_expert_weight", BOOL, default=True),
        H("expert_gating_func", "moe_router_activation", default="sigmoid",
          codec=Codec(GATING.__getitem__, {n: name for name, n in GATING.items()}.__getitem__)),
        Computed("leading_dense_block_count", leading, "moe_layers_enum",
                 lambda kv: listed(range(kv["leading_dense_block_count"], main_blocks(kv)))),
        H("moe_every_n_layers", "moe_every_n_layer", default=1),
        limits("swiglu_clamp_exp", "swiglu_limits"), limits("swiglu_clamp_shexp", "swiglu_limits_shared"),
    ),
    tensors=(
        *EMBED, *offset(*NORMS), *ATTN, *offset(*QK_NORM),
        R("blk.{b}.attn_gate.weight", L + "self_attn.g_proj.weight", need=False, shape="attention.head_count embedding_length"),
        *where(dense, *FFN),
        *where(sparse,
               R("blk.{b}.ffn_gate_inp.weight", L + "moe.gate.weight", shape="expert_count embedding_length", type="F32"),
               R("blk.{b}.ffn_gate_exps.weight", L + "moe.gate_proj.weight",
                 shape="expert_count expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_up_exps.weight", L + "moe.up_proj.weight",
                 shape="expert_count expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down_exps.weight", L + "moe.down_proj.weight",
                 shape="expert_count embedding_length expert_feed_forward_length"),
               R("blk.{b}.ffn_gate_shexp.weight", L + "share_expert.gate_proj.weight",
                 shape="expert_shared_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_up_shexp.weight", L + "share_expert.up_proj.weight",
                 shape="expert_shared_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down_shexp.weight", L + "share_expert.down_proj.weight",
                 shape="embedding_length expert_shared_feed_forward_length")),
        R("blk.{b}.exp_probs_b.bias", L + "moe.router_bias", need=False, shape="expert_count", hf_dtype="F32"),
        *offset(*HEADS, *OUT_NORM), R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    derived=(Derived("rope_freqs.weight", _make_factors, _recover_factors),), idle=predicting,
    sizes={**SIZES, "head_rows": lambda hp: [n * hp["attention.key_length"] for n in hp["attention.head_count"]],
           "head_kv_rows": lambda hp: [n * hp["attention.key_length"] for n in hp["attention.head_count_kv"]]},
    defaults={
        "head_dim": per_head, "rms_norm_eps": 1e-5, "num_nextn_predict_layers": 0,
        "layer_types": lambda c: ["full_attention"] * c["num_hidden_layers"],
        "partial_rotary_factors": lambda c: [1.0] * len(c["layer_types"]),
        "moe_layers_enum": lambda c: listed(range(3, c["num_hidden_layers"])),
    },
    example="stepfun-ai/Step-3.5-Flash",
)
STEP3P7 = Whole("Step3p7ForConditionalGeneration", "step3p7", STEP, MULTIMODAL, parts("vision_model", "vit_large_projector"),
                example="stepfun-ai/Step-3.7-Flash")

SPECS = (STEP, STEP3P7)
