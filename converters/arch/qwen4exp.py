"""Qwen4-Exp (Qwen3.8-Flash-Next): Qwen3.5's linear and gated attention between residual streams, which every half of a block
mixes in place of norms (hyper-connections). Full attention is thinned out by an indexer; one block adds what a hash of the last
tokens finds in a table of its own (PLE). Layers of multi-token prediction have no place.

Source: transformers `models/qwen4_exp`; llama.cpp `src/models/qwen4exp.cpp`, `conversion/qwen4exp.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .hy_v4 import STREAM_SIZES
from .qwen35 import (
    ALIASES,
    GATED_ATTN,
    HYBRID_DEFAULTS,
    HYBRID_MOE,
    HYBRID_SIZES,
    LINEAR_ATTN,
    ONE,
    SHARED_EXPERT,
    VISION,
    full,
    recurrent_blocks,
)

INDEXER = L + "self_attn.indexer."
PLE = L + "ple."
HASHES = PLE + "ple_embedding."
LINEAR, FULL = "linear_attention", "full_attention"
KINDS = {LINEAR: True, FULL: False, "indexed_attention": False}  # the last as transformers calls it

# -- hyperparameters ------------------------------------------------------------------------------------------------


def recurrent_layers(config: Config) -> list[bool]:
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {*KINDS}:
        raise ValueError(f"{count} times {' or '.join(KINDS)} is expected, not {kinds}")
    return [KINDS[kind] for kind in kinds]


def indexed(config: Config) -> list[int]:
    """How many tokens each block's indexer takes together; in blocks of linear attention 0."""
    return [0 if linear else config["indexer_compress_ratio"] for linear in recurrent_layers(config)]


def hashing_block(config: Config) -> int | None:
    """The block with the table of hashes, counted from 0."""
    blocks = config["ple_layer_ids"]
    if len(blocks) > 1:
        raise ValueError(f"ple_layer_ids: the runtime has hashes in one block, not in {blocks}")
    return blocks[0] - 1 if blocks else None


def ple(key: str, value: Callable[[Config], Any], hf: str | None, back: Callable[[Mapping[str, Any]], Any] | None = None,
        type: ValueType = ValueType.UINT32) -> HparamRule:
    """A key of models with hashes."""
    return Computed(key, lambda c: value(c) if c["ple_layer_ids"] else None, hf, back or (lambda kv: kv.get(key)), type)


def hashes(config: Config) -> int:
    """How many rows of its table a token finds."""
    return (config["ngram_size"] - 1) * config["heads_per_ngram"]


def first(ids: Any) -> Any:
    return ids[0] if isinstance(ids, list) else ids


def found_width(kv: Mapping[str, Any]) -> int | None:
    """The width of all of them together."""
    if "ple.ngram_size" not in kv:
        return None
    return (kv["ple.ngram_size"] - 1) * kv["ple.heads_per_ngram"] * kv["embedding_length_per_layer_input"]


PLE_KEYS = (
    ple("ple.layers", lambda c: [hashing_block(c)], "ple_layer_ids", lambda kv: [b + 1 for b in kv.get("ple.layers", ())],
        INT32),
    ple("ple.ngram_size", lambda c: c["ngram_size"], "ngram_size"),
    ple("ple.heads_per_ngram", lambda c: c["heads_per_ngram"], "heads_per_ngram"),
    ple("ple.conv_kernel", lambda c: c["ple_conv_kernel_size"], "ple_conv_kernel_size"),
    ple("ple.eos_token_id", lambda c: first(c["eos_token_id"]), "eos_token_id"),
    ple("ple.image_token_id", lambda c: c.get("image_token_id"), None),
    ple("embedding_length_per_layer_input", lambda c: c["ple_embed_dim"] // hashes(c), "ple_embed_dim", found_width),
    # transformers computes the sizes of the table anew: primes from here on, and so many rows that this divides them.
    Seen("ngram_vocab_size_base", lambda facts: first(facts.kv.get("ple.head_vocab_sizes"))),
    Seen("make_ngram_vocab_size_divisible_by", size("per_layer_token_embd.weight")),
)
INDEXER_KEYS = (
    H("attention.indexer.head_count", "indexer_n_heads"), H("attention.indexer.key_length", "indexer_head_dim"),
    H("attention.indexer.top_k", "indexer_budget"), Fixed("indexer_kv_heads", 1, refuse=True),
    Computed("attention.compress_ratios", indexed, "indexer_compress_ratio",
             lambda kv: max(kv["attention.compress_ratios"]) or None, INT32),
)

# -- tensors --------------------------------------------------------------------------------------------------------


def streams(gguf: str, hf: str, *, joining: bool = True) -> tuple[TensorRule, ...]:
    """What mixes the residual streams at one place, and deals out what is computed of the mixture."""
    mix = (R(f"{gguf}_norm.weight", f"{hf}.hc_norm.weight", ONE, shape="stream_rows"),
           R(f"{gguf}_down.weight", f"{hf}.input_mix_weight_down.weight", shape="hyper_connection.low_rank stream_rows"),
           R(f"{gguf}_up.weight", f"{hf}.input_mix_weight_up.weight", shape="stream_rows hyper_connection.low_rank"))
    deal = R(f"{gguf}_inject.weight", f"{hf}.block_inject_weight.weight", shape="hyper_connection.count stream_rows")
    return (*mix, deal) if joining else mix


def hashing(hp: Hparams, b: int | None) -> bool:
    return hp["hashing_block"] is not None and b in (hp["hashing_block"], None)


STREAMS = (
    *streams("output_hc", "model.hyper_connection_mixer", joining=False),
    *streams("blk.{b}.hc_attn", L + "attn_hyper_connection"), *streams("blk.{b}.hc_ffn", L + "mlp_hyper_connection"),
)
INDEXER_TENSORS = where(
    full,
    R(("blk.{b}.indexer.q_proj.weight", "blk.{b}.indexer.k_proj.weight"), INDEXER + "index_qk_proj.weight",
      Split(("attention.indexer.head_count", 1)), shape="index_rows embedding_length"),
    R("blk.{b}.indexer.q_norm.weight", INDEXER + "q_layernorm.weight", ONE, shape="attention.indexer.key_length"),
    R("blk.{b}.indexer.k_norm.weight", INDEXER + "k_layernorm.weight", ONE, shape="attention.indexer.key_length"),
)
PLE_TENSORS = where(
    hashing,
    R("per_layer_token_embd.weight", HASHES + "ngram_embedding.shard_{e}.weight", each="table_parts", joined=True,
      shape="part_rows embedding_length_per_layer_input", within="hashing_block", no_lora=NO_GATHER),
    *in_memory(R("per_layer_token_embd.weight", HASHES + "ngram_embedding.weight", within="hashing_block", no_lora=NO_GATHER,
                 shape="table_rows embedding_length_per_layer_input")),
    R("blk.{b}.ple_key.weight", PLE + "key_proj.weight", shape="stream_rows embedding_length"),
    R("blk.{b}.ple_value.weight", PLE + "value_proj.weight", shape="embedding_length embedding_length"),
    *(R(f"blk.{{b}}.ple_norm_{of}.weight", PLE + f"norm_{of}.weight", ONE, shape="stream_rows")
      for of in ("key", "query", "conv")),
    R("blk.{b}.ple_conv1d.weight", PLE + "conv1d.weight",
      Reshape(("stream_rows", 1, "ple.conv_kernel"), ("stream_rows", "ple.conv_kernel"))),
)
BLOCK = (*GATED_ATTN, *ROUTER, *FUSED_EXPERTS, *SEPARATE_EXPERTS, *SHARED_EXPERT, *STREAMS, *INDEXER_TENSORS)
MTP = tuple(dict.fromkeys(Template(text) for text in (
    *(str(t).replace(L, "mtp.layers.{b}.").replace("model.", "mtp.") for row in BLOCK for t in row.hf),
    *(f"mtp.{name}.weight" for name in ("fc", "fc_embedding", "fc_hidden", "pre_fc_norm_embedding", "pre_fc_norm_hidden")))))

QWEN4EXP = ArchSpec(
    "qwen4exp", ("Qwen4ExpForCausalLM",), "qwen4_exp_text",
    hparams=(
        *without(HYBRID_MOE, "block_count", "mtp_num_hidden_layers", "nextn_predict_layers", "attention.recurrent_layers"),
        BLOCK_COUNT,
        Computed("attention.recurrent_layers", recurrent_layers, "layer_types",
                 lambda kv: [LINEAR if linear else FULL for linear in recurrent_blocks(kv)], BOOL),
        H("hyper_connection.count", "hc_count"), H("hyper_connection.low_rank", "hc_lowrank"),
        *INDEXER_KEYS, *PLE_KEYS, Fixed("norm_topk_prob", True, refuse=True),
        Fixed("output_gate_type", "sigmoid", refuse=True), Seen("mtp_num_hidden_layers", lambda facts: 0),
    ),
    tensors=(*EMBED, *BLOCK, *LINEAR_ATTN, *PLE_TENSORS, *HEAD),
    keyed=tuple(Keyed(f"qwen4exp.ple.{key}", Template(HASHES + hf), within="hashing_block") for key, hf in (
        ("layer_multipliers", "layer_multipliers"), ("head_offsets", "ngram_heads_offsets"),
        ("head_vocab_sizes", "ngram_heads_vocab_sizes"))),
    constants={"table_parts": Constant("split_ngram_parts", neutral=1, default=512)},
    defaults={**HYBRID_DEFAULTS, "hc_count": 4, "hc_lowrank": 320, "ple_layer_ids": lambda c: [], "ple_conv_kernel_size": 4,
              "ple_embed_dim": same_as("hidden_size"), "ngram_size": 3, "heads_per_ngram": 8, "norm_topk_prob": True,
              "output_gate_type": same_as("hidden_act"), "num_key_value_heads": 2, "hidden_act": "silu"},
    shown=dict.fromkeys(("part_rows", "table_rows"), Shown("the number of hashes is rounded up so that parts are equal")),
    sizes={
        **HYBRID_SIZES, **STREAM_SIZES,
        "hashing_block": lambda hp: next(iter(hp.get("ple.layers", ())), None),
        "index_rows": lambda hp: (hp["attention.indexer.head_count"] + 1) * hp["attention.indexer.key_length"],
    },
    aliases=ALIASES, ignore=MTP, example="Qwen/Qwen3.8-Flash-Next",
)

QWEN4EXP_VL = Whole("Qwen4ExpForConditionalGeneration", "qwen4_exp", QWEN4EXP, (), VISION,
                    example="Qwen/Qwen3.8-Flash-Next")

SPECS = (QWEN4EXP, QWEN4EXP_VL)
