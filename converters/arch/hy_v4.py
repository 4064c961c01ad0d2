"""Tencent's HY 4: DeepSeek's latent attention with an output gate and sinks, which an indexer may thin out, experts, and
residual streams side by side, which every block mixes (hyper-connections). Layers of multi-token prediction have no place.

Source: transformers `models/hy_v4`; llama.cpp `src/models/hy-v4.cpp`, `conversion/hy_v4.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .deepseek import (
    ATTN,
    ATTN_OUTPUT,
    COMMON,
    DEFAULTS,
    INDEXER,
    INDEXER_SIZES,
    INDEXER_TENSORS,
    INDEXER_TYPES,
    ROUTER_BIAS,
    SHARED_EXPERTS,
    dense,
    leading_dense,
    sparse,
)

A = L + "self_attn."
WITH_FP32_HEAD = R("output.weight", "lm_head.weight", shape="vocab_size embedding_length", type="F32", no_lora=NO_ADAPTERS,
                   of=lambda hp, b: hp["fp32_head"])
UNGROUPED = tuple(Fixed(key, 1, refuse=True) for key in ("n_group", "topk_group"))


def streams(gguf: str, hf: str, mixes: str, scales: str, *, hf_dtype: str | None = "F32") -> tuple[TensorRule, ...]:
    """What mixes the residual streams at one place: a matrix, its biases and scales."""
    return (R(f"{gguf}_fn.weight", f"{hf}fn", shape=f"{mixes} stream_rows", type="F32", hf_dtype=hf_dtype, no_lora=NO_ADAPTERS),
            R(f"{gguf}_base.weight", f"{hf}base", shape=mixes, hf_dtype=hf_dtype),
            R(f"{gguf}_scale.weight", f"{hf}scale", shape=scales, hf_dtype=hf_dtype))


STREAM_SIZES = {"stream_rows": lambda hp: hp["hyper_connection.count"] * hp["embedding_length"]}


def clamped(key: str, hf: str = "swiglu_limit") -> HparamRule:
    """One number that gates and values of all blocks are clamped to."""
    return Computed(key, lambda c: [c[hf]] * (c["num_hidden_layers"] + c.get("num_nextn_predict_layers", 0))
                    if (c.get(hf) or 0) > 0 else None, hf, lambda kv: short(kv[key][0]) if key in kv else 0.0, F32)


def indexers(config: Config) -> list[str]:
    """Which blocks have an indexer of their own, where config.json does not say."""
    return ["full" if b == 0 or b % 4 == 1 else "shared" for b in range(config["num_hidden_layers"])]


def mlp_layers(facts: GgufFacts) -> list[str]:
    return ["dense" if b < facts.kv["leading_dense_block_count"] else "sparse" for b in range(facts.kv["block_count"])]


# Names of parts, and those that transformers 5.23 makes of them when it saves: it renames more than is theirs.
MISNAMED = ((".hc_attn_layer.hc_pre.", ".hc_pre.hc_attn_layer."), (".hc_mlp_layer.hc_pre.", ".hc_pre.hc_mlp_layer."),
            ("model.hc_head.", "model.hc_pre.hc_head."), (".gate_proj.", ".linear_gate."))
# Those in memory.
IN_MEMORY = ((".hc_attn_layer.hc_pre.hc_", ".attn_hc."), (".hc_mlp_layer.hc_pre.hc_", ".ffn_hc."), (".hc_head_", ".hc_"),
             (".linear_gate.", ".gate_proj."))


def renamed(names: tuple[tuple[str, str], ...], *rows: TensorRule) -> tuple[TensorRule, ...]:
    """Those of the rows that have other names so."""
    def other(text: str) -> str:
        for its, new in names:
            text = text.replace(its, new)
        return text

    found = (replace(row, hf=tuple(Template(other(t.text)) for t in row.hf)) for row in rows)
    return tuple(new for row, new in zip(rows, found, strict=True) if new.hf != row.hf)


GATE = R("blk.{b}.attn_gate.weight", A + "linear_gate.weight", shape="value_rows embedding_length", no_lora=NO_ADAPTERS)
STREAMS = (
    *streams("blk.{b}.hc_attn", L + "hc_attn_layer.hc_pre.hc_", "2*hyper_connection.count", "2"),
    *streams("blk.{b}.hc_ffn", L + "hc_mlp_layer.hc_pre.hc_", "2*hyper_connection.count", "2"),
    *streams("output_hc", "model.hc_head.hc_head_", "hyper_connection.count", "1"),
)

# What chooses tokens is in F32 in transformers, whatever the model's type: rounded, it would choose others.
INDEXERS = tuple(replace(row, hf_dtype="F32") if any(part in str(row.hf[0]) for part in ("k_norm.", "weights_proj.")) else row
                 for row in INDEXER_TENSORS)

HY_V4 = ArchSpec(
    "hy_v4", ("HYV4ForCausalLM",), "hy_v4",
    hparams=(
        *without(COMMON, "first_k_dense_replace", "num_key_value_heads"),
        Computed("attention.head_count_kv", lambda c: 1, "num_key_value_heads", lambda kv: kv["attention.head_count"]),
        Computed("leading_dense_block_count", leading_dense, "first_k_dense_replace",
                 lambda kv: kv["leading_dense_block_count"]),
        Seen("mlp_layer_types", mlp_layers), Const("expert_gating_func", 2), *UNGROUPED,
        Seen("num_nextn_predict_layers", lambda facts: 0), clamped("swiglu_clamp_exp"),
        H("hyper_connection.count", "hc_mult"), H("hyper_connection.epsilon", "hc_eps", F32),
        H("hyper_connection.magnitude", "hc_magnitude", F32), *INDEXER, INDEXER_TYPES,
        Note("the runtime turns neighbours of the rotary part, transformers its halves", lambda c: True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *ATTN_OUTPUT, *INDEXERS,
        GATE,
        R("blk.{b}.attn_sinks.weight", A + "learnable_sink_param", shape="attention.head_count", hf_dtype="F32"),
        *where(dense, *FFN), *where(sparse, *ROUTER, *FUSED_EXPERTS, *in_memory(*SHARED_EXPERTS), *ROUTER_BIAS), *STREAMS,
        *renamed(MISNAMED, *STREAMS, *where(dense, *FFN), *where(sparse, *SHARED_EXPERTS)),
        *in_memory(*renamed(IN_MEMORY, *STREAMS, GATE)),
        *OUT_NORM, WITH_FP32_HEAD,
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    constants={"fp32_head": Constant("enable_lm_head_fp32", neutral=False)},
    sizes={**INDEXER_SIZES, **STREAM_SIZES},
    defaults={**DEFAULTS, "max_position_embeddings": 262144, "rms_norm_eps": 1e-5, "qk_nope_head_dim": 192, "v_head_dim": 256,
              "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "routed_scaling_factor": 2.827,
              "norm_topk_prob": True, "hc_mult": 4, "hc_magnitude": 2.0, "hc_eps": 1e-6, "swiglu_limit": 10.0,
              "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 16, "indexer_types": indexers,
              "first_k_dense_replace": 1},
    example="tencent/Hy4-preview",
)

SPECS = (HY_V4,)
