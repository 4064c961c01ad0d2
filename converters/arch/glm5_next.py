"""GLM-5.3-Flash (GLM-5 Next): delta attention in most blocks, in the others DeepSeek's latent attention without positions,
which an indexer thins out by pools of keys; experts; residual streams side by side. It reads its own flat config as well.

Source: transformers `models/glm5_next`; llama.cpp `src/models/glm5-next.cpp`, `conversion/glm.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .deepseek import (
    ATTN,
    COMMON,
    GATING,
    GLM_DEFAULTS,
    INDEXER,
    INDEXER_SIZES,
    INDEXER_TENSORS,
    INDEXER_TYPES,
    ROUTER_BIAS,
    SHARED_EXPERTS,
    dense,
    leading_dense,
    mlp_layers,
    sparse,
)
from .hy_v4 import STREAM_SIZES, clamped, streams
from .kimi_linear import delta, delta_attention, gate, rows_by_block
from .lfm2 import attends, convolves, listed
from .multimodal import parts

A = L + "self_attn."


def heads_by_block(config: Config) -> list[int]:
    """One latent head, or none where attention is linear; layers of multi-token prediction have one."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {"linear_attention", "full_attention", "indexed_attention"}:
        raise ValueError(f"{count} times linear_attention or full_attention is expected, not {kinds}")
    return [int(kind != "linear_attention") for kind in kinds] + [1] * config["num_nextn_predict_layers"]


def layer_kinds(facts: GgufFacts) -> list[str]:
    return ["indexed_attention" if heads else "linear_attention" for heads in listed(facts.kv)[: main_blocks(facts.kv)]]


def indexed(hp: Hparams, b: int) -> bool:
    """Whether a block chooses keys itself: one with latent attention that does not take what the last one before it chose."""
    kinds = hp.get("attention.indexer.types")
    return attends(hp, b) and (kinds is None or b >= len(kinds) or kinds[b])


def main(hp: Hparams, b: int) -> bool:
    return not predicting(hp, b)


def bounded(config: Config) -> float | None:
    """The lower bound of decays, which the class has where config.json leaves it out."""
    stated = config["linear_attn_config"]
    return stated["gate_lower_bound"] if "gate_lower_bound" in stated else config.get("linear_lower_bound", -5.0)


def inside(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows under the names that a language model has within this class."""
    return tuple(replace(row, hf=tuple(Template(t.text.replace("model.", LANGUAGE_MODEL, 1)) for t in row.hf)) for row in rows)


LANGUAGE_MODEL = "model.language_model."
GLM5_TEXT = ArchSpec(
    "glm5-next", ("Glm5NextForConditionalGeneration",), "glm5_next",
    hparams=(
        *without(COMMON, "num_hidden_layers", "first_k_dense_replace", "num_key_value_heads", "rope_parameters",
                 "rope.scaling.yarn_log_multiplier", "rope_parameters.mscale"), *NEXTN_BLOCKS,
        H("rope.freq_base", "rope_theta", F32, need=False),  # nothing turns by it
        Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: kv["attention.head_count"]),
        Seen("layer_types", layer_kinds), Fixed("qk_rope_head_dim", 0, refuse=True), Fixed("mla_use_nope", True, refuse=True),
        Const("attention.layer_norm_epsilon", 1e-6, F32), Seen("mlp_layer_types", mlp_layers),
        Computed("leading_dense_block_count", leading_dense, "first_k_dense_replace",
                 lambda kv: kv.get("leading_dense_block_count", 0)),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        clamped("swiglu_clamp_exp"), clamped("swiglu_clamp_shexp"),
        *INDEXER, INDEXER_TYPES, H("attention.indexer.kpool", "index_kpool"),
        H("attention.indexer.kpool_select_tail", "index_kpool_always_select_tail", BOOL, default=True),
        H("kda.head_dim", "linear_attn_config.head_dim"), H("ssm.conv_kernel", "linear_attn_config.short_conv_kernel_size"),
        Computed("kda.gate_lower_bound", bounded, "linear_attn_config.gate_lower_bound",
                 lambda kv: short(kv["kda.gate_lower_bound"]) if "kda.gate_lower_bound" in kv else None, F32),
        Fixed("linear_attn_config.num_heads", lambda c: c["num_attention_heads"], refuse=True),
        H("hyper_connection.count", "hc_mult"), H("hyper_connection.epsilon", "hc_eps", F32),
        H("hyper_connection.sinkhorn_iterations", "hc_sinkhorn_iters"),
    ),
    tensors=(*inside(
        *EMBED, *NORMS, *where(attends, *(row for row in ATTN if row.hf[0].text != A + "q_proj.weight")),
        R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length value_rows_by_block", no_lora=NO_ADAPTERS),
        *(replace(row, when=indexed) for row in INDEXER_TENSORS),
        *where(indexed,
               R("blk.{b}.indexer_compressor_gate.weight", A + "indexer.index_kpool_compress_gate",
                 shape="attention.indexer.key_length embedding_length", type="F32", no_lora=NO_ADAPTERS),
               R("blk.{b}.indexer_compressor_ape.weight", A + "indexer.index_kpool_compress_ape",
                 shape="attention.indexer.kpool attention.indexer.key_length", type="F32", no_lora=NO_ADAPTERS)),
        *where(convolves,
               R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
               *delta_attention(*gate("f"), *gate("g"), *gate("f", "forget_gate."))),
        *where(main, *streams("blk.{b}.hc_attn", L + "hc_attn_", "mixes", "3", hf_dtype=None),
               *streams("blk.{b}.hc_ffn", L + "hc_ffn_", "mixes", "3", hf_dtype=None),
               # As transformers holds them, which is how adapters name weights.
               *streams("blk.{b}.hc_attn", L + "attn_hc.", "mixes", "3"),
               *streams("blk.{b}.hc_ffn", L + "ffn_hc.", "mixes", "3")),
        *where(dense, *FFN),
        *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS, *ROUTER_BIAS), *NEXTN, *OUT_NORM),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    sizes={**INDEXER_SIZES, **STREAM_SIZES, "delta_rows": lambda hp: hp["attention.head_count"] * hp["kda.head_dim"],
           "value_rows_by_block": rows_by_block("delta_rows", "value_rows"),
           "mixes": lambda hp: (2 + hp["hyper_connection.count"]) * hp["hyper_connection.count"]},
    defaults={**GLM_DEFAULTS, "max_position_embeddings": 1048576, "q_lora_rank": 1536, "qk_rope_head_dim": 0,
              "qk_nope_head_dim": 256, "n_routed_experts": 288, "num_experts_per_tok": 8, "routed_scaling_factor": 2.5,
              "first_k_dense_replace": 3, "swiglu_limit": 10.0, "linear_attn_config": delta, "hc_mult": 4, "hc_eps": 1e-6,
              "hc_sinkhorn_iters": 20, "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 32, "index_kpool": 16},
    idle=predicting, example="zai-org/GLM-5.3-Flash", absent="what the class sees with is not in the file",
    aliases=tuple(("model." + name, LANGUAGE_MODEL + name) for name in ("layers.", "embed_tokens.", "norm.")),
)
GLM5_NEXT = Whole("Glm5NextForConditionalGeneration", "glm5_next", GLM5_TEXT, (),
                  parts("visual"), example="zai-org/GLM-5.3-Flash")

BACK = {"glm5-next": choice(GLM5_TEXT)}
SPECS = (GLM5_NEXT,)
