"""Kimi Linear: delta attention with a decay for each channel in most blocks, DeepSeek's latent attention in the others, both
without positions; DeepSeek-V3's experts behind a dense block.

Blocks of delta attention are those without key-value heads. The Hub's config.json numbers blocks from 1, that of transformers 5
lists them. Source: transformers `models/kimi_linear`; llama.cpp `src/models/kimi-linear.cpp`, `conversion/kimi_linear.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ..rules.facts import Fact
from ..rules.words import *
from .common import *
from .deepseek import GATING, LATENT_ATTN, LATENT_EPS, LATENT_SIZES, dense, leading_dense, sparse
from .lfm2 import attends, convolves, listed

A, M = L + "self_attn.", L + "block_sparse_moe."
PARTLY = "the runtime looks for adapters of it in latent attention alone"


def delta(config: Config) -> dict[str, Any]:
    """The settings of delta attention as the Hub has them, from those of transformers 5."""
    return {"head_dim": config.get("linear_head_dim", 128), "num_heads": config.get("linear_num_heads", 32),
            "short_conv_kernel_size": config.get("linear_conv_kernel_dim", 4)}


def latent_blocks(config: Config) -> Collection[int]:
    """The numbers of the blocks with latent attention."""
    count, kinds, stated = config["num_hidden_layers"], config.get("layer_types"), config["linear_attn_config"]
    if kinds is None and "full_attn_layers" in stated:
        return {b - 1 for b in stated["full_attn_layers"]}
    kinds = kinds or ["full_attention" if b and b % 4 == 0 else "linear_attention" for b in range(count)]
    if len(kinds) != count or not {*kinds} <= {"linear_attention", "full_attention"}:
        raise ValueError(f"{count} times linear_attention or full_attention is expected, not {kinds}")
    return {b for b, kind in enumerate(kinds) if kind == "full_attention"}


def heads_by_block(config: Config) -> list[int]:
    """One latent head, or none, in each block."""
    latent = latent_blocks(config)
    return [int(b in latent) for b in range(config["num_hidden_layers"])]


def numbers(latent: bool) -> Fact:
    """The numbers, from 1, of the blocks with latent attention, or of the others."""
    return lambda facts: [b for b, heads in enumerate(listed(facts.kv), 1) if (heads > 0) == latent]


def rows_by_block(delta: str, latent: str) -> Callable[[Hparams], list[int]]:
    return lambda hp: [hp[latent] if heads else hp[delta] for heads in listed(hp)]


def conv(part: str) -> TensorRule:
    return R(f"blk.{{b}}.ssm_conv1d_{part}.weight", f"{A}{part}_conv1d.weight",
             Reshape(("delta_rows", 1, "ssm.conv_kernel"), (1, "delta_rows", 1, "ssm.conv_kernel")), type="F32")


def gate(letter: str, module: str = "") -> tuple[TensorRule, ...]:
    """The low-rank projections of a gate: that of forgetting, or that of the output."""
    return (R(f"blk.{{b}}.ssm_{letter}_a.weight", f"{A}{module}{letter}_a_proj.weight", shape="kda.head_dim embedding_length",
              no_lora=NO_ADAPTERS),
            R(f"blk.{{b}}.ssm_{letter}_b.weight", f"{A}{module}{letter}_b_proj.weight", shape="delta_rows kda.head_dim",
              no_lora=NO_ADAPTERS))


def delta_attention(*gates: TensorRule, heads: str = "attention.head_count",
                    hf_dtype: str | None = "F32") -> tuple[TensorRule, ...]:
    """What blocks of delta attention have beside queries and output. `heads`: the shape of the decays; `hf_dtype`: what decays
    and time steps are stored as."""
    return (R("blk.{b}.attn_k.weight", A + "k_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
            R("blk.{b}.attn_v.weight", A + "v_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
            *(conv(part) for part in "qkv"), *gates,
            R("blk.{b}.ssm_beta.weight", A + "b_proj.weight", shape="attention.head_count embedding_length",
              no_lora=NO_ADAPTERS),
            R("blk.{b}.ssm_a", A + "A_log", NegExp(), shape=heads, hf_dtype=hf_dtype),
            R("blk.{b}.ssm_dt.bias", A + "dt_bias", shape="delta_rows", hf_dtype=hf_dtype),
            R("blk.{b}.ssm_norm.weight", A + "o_norm.weight", shape="kda.head_dim"))


def ffn(hf: str, gguf: str, length: str, names: str = "gate_proj up_proj down_proj") -> tuple[TensorRule, ...]:
    gate, up, down = names.split()
    return (R(f"blk.{{b}}.ffn_gate{gguf}.weight", f"{hf}{gate}.weight", shape=f"{length} embedding_length"),
            R(f"blk.{{b}}.ffn_up{gguf}.weight", f"{hf}{up}.weight", shape=f"{length} embedding_length"),
            R(f"blk.{{b}}.ffn_down{gguf}.weight", f"{hf}{down}.weight", shape=f"embedding_length {length}"))


KIMI_LINEAR = ArchSpec(
    "kimi-linear", ("KimiLinearForCausalLM", "KimiLinearModel"), "kimi_linear",
    hparams=(
        *without(SHAPE, "context_length"), H("context_length", ("model_max_length", "max_position_embeddings")),
        *without(LATENT_ATTN, "attention.head_count_kv", "attention.q_lora_rank", "attention.value_length",
                 "rope.scaling.yarn_log_multiplier", "rope_parameters", "rope_parameters.mscale"),
        LATENT_EPS, H("rope.freq_base", "rope_theta", F32, need=False),  # nothing turns by it
        Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: kv["attention.head_count"]),
        Seen("linear_attn_config.full_attn_layers", numbers(True)), Seen("linear_attn_config.kda_layers", numbers(False)),
        H("attention.value_length", "head_dim", need=False),
        H("kda.head_dim", "linear_attn_config.head_dim"), H("ssm.conv_kernel", "linear_attn_config.short_conv_kernel_size"),
        Fixed("linear_attn_config.num_heads", lambda c: c["num_attention_heads"], refuse=True),
        Computed("leading_dense_block_count", leading_dense, "first_k_dense_replace",
                 lambda kv: kv.get("leading_dense_block_count", 0)),
        EXPERT_LENGTH, EXPERTS[0], H("expert_used_count", ("num_experts_per_token", "num_experts_per_tok")),
        H("expert_shared_count", "num_shared_experts"), H("expert_weights_scale", "routed_scaling_factor", F32),
        H("expert_gating_func", "moe_router_activation_func", codec=GATING, default="sigmoid"),
        H("expert_group_used_count", "topk_group", default=1), Fixed("num_expert_group", 1, refuse=True),
        Fixed("moe_renormalize", True, refuse=True), Fixed("moe_layer_freq", 1, refuse=True),
        Fixed("q_lora_rank", None, refuse=True), Fixed("mla_use_nope", True, refuse=True),
        Fixed("num_nextn_predict_layers", 0, refuse=True), Fixed("attention_bias", False, refuse=True),
        RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, TIED, SILU,
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="query_rows_by_block embedding_length", no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length value_rows_by_block", no_lora=PARTLY),
        *where(attends,
               R("blk.{b}.attn_kv_a_mqa.weight", A + "kv_a_proj_with_mqa.weight", shape="latent_rows embedding_length",
                 no_lora=NO_ADAPTERS),
               R("blk.{b}.attn_kv_a_norm.weight", A + "kv_a_layernorm.weight", shape="attention.kv_lora_rank"),
               R(("blk.{b}.attn_k_b.weight", "blk.{b}.attn_v_b.weight"), A + "kv_b_proj.weight",
                 MlaKv("attention.head_count", "unrotated_length", "value_length"),
                 shape="key_value_rows attention.kv_lora_rank", no_lora=NO_ADAPTERS),
               R("blk.{b}.attn_kv_b.weight", A + "kv_b_proj.weight", shape="key_value_rows attention.kv_lora_rank")),
        *where(convolves, *delta_attention(*gate("f"), *gate("g"), *gate("f", "forget_gate."),
                                           heads="1 1 attention.head_count 1", hf_dtype=None)),
        # The Hub's names, then those under which transformers 5 saves the dense block.
        *where(dense, *ffn(L + "mlp.", "", "feed_forward_length"), *ffn(M, "", "feed_forward_length")),
        *where(sparse,
               R("blk.{b}.ffn_gate_inp.weight", M + "gate.weight", shape="expert_count embedding_length", type="F32"),
               R("blk.{b}.exp_probs_b.bias", M + "gate.e_score_correction_bias", shape="expert_count", hf_dtype="F32"),
               *ffn(M + "experts.{e}.", "_exps", "expert_feed_forward_length", "w1 w3 w2"),
               *ffn(M + "shared_experts.", "_shexp", "shared_expert_length"),
               # As transformers 5 holds the model, which is how adapters name its weights.
               *ROUTER, *FUSED_EXPERTS, *ffn(L + "mlp.shared_experts.", "_shexp", "shared_expert_length")),
        *OUT_NORM, R("output.weight", "lm_head.weight", shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    sizes={
        **LATENT_SIZES, "delta_rows": lambda hp: hp["attention.head_count"] * hp["kda.head_dim"],
        "query_rows_by_block": rows_by_block("delta_rows", "query_rows"),
        "value_rows_by_block": rows_by_block("delta_rows", "value_rows"),
    },
    defaults={
        "linear_attn_config": delta, "num_hidden_layers": 27, "num_key_value_heads": same_as("num_attention_heads"),
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "rms_norm_eps": 1e-5,
        "first_k_dense_replace": 1, "moe_intermediate_size": 1024, "num_shared_experts": 1, "routed_scaling_factor": 2.446,
    },
    example="moonshotai/Kimi-Linear-48B-A3B-Instruct",
)

SPECS = (KIMI_LINEAR,)
