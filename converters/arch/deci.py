"""DeciLM and Llama-Nemotron (51B, 253B): Llama whose blocks differ: in heads, in feed-forward rows, and in having either.

Source: the model repository's `modeling_decilm.py`, `block_config.py`; llama.cpp `src/models/deci.cpp`, `conversion/deci.py`.
"""

from __future__ import annotations

from typing import Any

from ..rules.words import *
from .common import *
from .lfm2 import listed
from .llama import INV_FREQ, ROPE_DIM

QUERY = "blk.{b}.attn_q.weight"


def rows(times: float | None, width: int) -> int:
    """Feed-forward rows: two thirds of a multiple of the width, rounded up to a multiple of 256."""
    return -(-int(2 * (times or 0) * width / 3) // 256) * 256


def blocks(config: Config) -> list[Config]:
    if len(config["block_configs"]) != config["num_hidden_layers"]:
        raise ValueError(f"{config['num_hidden_layers']} blocks are expected, not {len(config['block_configs'])}")
    return config["block_configs"]


def heads(config: Config) -> list[int]:
    """Query heads of each block; a linear layer in place of attention counts as all, without key-value heads."""
    return [config["num_attention_heads"] * bool(block["attention"].get("n_heads_in_group")
                                                 or block["attention"].get("replace_with_linear")) for block in blocks(config)]


def heads_kv(config: Config) -> list[int]:
    groups = [block["attention"].get("n_heads_in_group") for block in blocks(config)]
    return [config["num_attention_heads"] // n if n else 0 for n in groups]


def feed_forward(config: Config) -> list[int]:
    return [rows(block["ffn"].get("ffn_mult"), config["hidden_size"]) for block in blocks(config)]


def block_configs(facts: GgufFacts) -> list[Config]:
    kv = facts.kv
    queries, width = kv["attention.head_count"], kv["embedding_length"]

    def attention(q: int, n: int) -> Config:
        return {"n_heads_in_group": q // n if n else None, "no_op": not q, "replace_with_linear": bool(q and not n)}

    return [{"attention": attention(q, n), "ffn": {"ffn_mult": f * 3 / (2 * width) if f else None, "no_op": not f,
                                                   "replace_with_linear": False}}
            for q, n, f in zip(queries, kv["attention.head_count_kv"], kv["feed_forward_length"], strict=True)]


def attends(hp: Hparams, b: int) -> bool:
    return listed(hp)[b] > 0


def has_rows(hp: Hparams, b: int) -> bool:
    return at(hp["feed_forward_length"], b) > 0


def mixes(hp: Hparams, b: int) -> bool:
    return at(hp["attention.head_count"], b) > 0


def at(value: Any, b: int) -> int:
    return value if isinstance(value, int) else value[b]


COMMON = (BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, Rope(), RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, ROPE_DIM, TIED, SILU)
ROWS = (
    *EMBED,
    *where(mixes, R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length")),
    *where(attends, *ATTN_ROPE[:3],
           R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows",
             given=has(QUERY))),
    *where(lambda hp, b: mixes(hp, b) and not attends(hp, b),
           R("blk.{b}.attn_output.weight", L + "self_attn.linear_attn.weight", shape="embedding_length embedding_length",
             given=lacks(QUERY))),
    *where(has_rows, R("blk.{b}.ffn_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"), *FFN),
    *OUT_NORM, *HEAD,
)
DECI_SIZES = {
    "head_length": lambda hp: hp.get("attention.key_length") or hp["embedding_length"] // hp["attention.head_count"],
    "head_rows": lambda hp: hp["embedding_length"],
    "head_kv_rows": lambda hp: [n * hp["head_length"] for n in listed(hp)],
}

NEMOTRON_51B = ArchSpec(
    "deci", ("DeciLMForCausalLM",), "nemotron-nas",
    hparams=(
        *COMMON, Computed("attention.head_count", heads), Computed("attention.head_count_kv", heads_kv),
        Computed("feed_forward_length", feed_forward), Computed("attention.key_length", per_head),
        Computed("attention.value_length", per_head), Seen("block_configs", block_configs),
        Seen("num_attention_heads", lambda found: found.kv["embedding_length"] // found.kv["attention.key_length"]),
    ),
    tensors=ROWS, sizes=DECI_SIZES, derived=(LLAMA3_FREQS,), ignore=INV_FREQ, fits=lambda c: "block_configs" in c,
    example="nvidia/Llama-3_1-Nemotron-51B-Instruct",
)
DECI = ArchSpec(
    "deci", ("DeciLMForCausalLM",), "deci",
    hparams=(
        *COMMON, HEAD_COUNT, FFN_LENGTH, *HEAD_LENGTHS,
        H("attention.head_count_kv", ("num_key_value_heads_per_layer", "num_key_value_heads")),
    ),
    tensors=ROWS, sizes=DECI_SIZES, derived=(LLAMA3_FREQS,), ignore=INV_FREQ, fits=lambda c: "block_configs" not in c,
    example="Deci/DeciLM-7B",
)


def uniform(facts: GgufFacts) -> bool:
    """Whether one number of heads serves all blocks; of a list the facts of a choice do not tell."""
    return facts.keys.get("deci.attention.head_count") is not None


BACK = {"deci": choice(NEMOTRON_51B, (DECI, uniform))}
SPECS = (NEMOTRON_51B, DECI)
