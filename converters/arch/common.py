"""Row groups that several families share, used by tuple unpacking. No inheritance between tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *

L = "model.layers.{b}."
NO_ADAPTERS = "the runtime multiplies with it without looking for adapters"
NO_GATHER = "the runtime looks the rows of this table up without an adapter"

# -- config keys that transformers fills in when config.json does not have them -------------------------------------


def same_as(key: str) -> Callable[[Config], Any]:
    return lambda config: config.get(key)


def per_head(config: Config) -> int | None:
    """The head length of models that do not state it."""
    try:
        return config["hidden_size"] // config["num_attention_heads"]
    except KeyError:
        return None  # the missing size is reported by its own rule


def scaled(**rope: Any) -> Callable[[Config], Any]:
    """The rotary settings of classes that scale where config.json says nothing."""
    settings = {"rope_type": "yarn", "beta_fast": 32.0, "beta_slow": 1.0, **rope}
    return lambda config: None if config.get("rope_scaling") else settings


DECODER_DEFAULTS = {"num_key_value_heads": same_as("num_attention_heads"), "head_dim": per_head}

# -- sizes that ops and shapes are written in -----------------------------------------------------------------------

SIZES: dict[str, Callable[[Hparams], Any]] = {
    "head_length": lambda hp: hp.get("attention.key_length") or hp["embedding_length"] // hp["attention.head_count"],
    "head_rows": lambda hp: hp["attention.head_count"] * hp["head_length"],
    "head_kv_rows": lambda hp: hp.get("attention.head_count_kv", hp["attention.head_count"]) * hp["head_length"],
}

# -- hyperparameters ------------------------------------------------------------------------------------------------

BLOCK_COUNT = H("block_count", ("num_hidden_layers", "n_layer"))
CONTEXT_LENGTH = H("context_length", ("max_position_embeddings", "n_positions", "n_ctx"))
EMBEDDING_LENGTH = H("embedding_length", ("hidden_size", "n_embd"))
FFN_LENGTH = H("feed_forward_length", ("intermediate_size", "n_inner"))
HEAD_COUNT = H("attention.head_count", ("num_attention_heads", "n_head"))
SHAPE: tuple[HparamRule, ...] = (BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT)
HEAD_KV = H("attention.head_count_kv", "num_key_value_heads")
LN_EPSILON = H("attention.layer_norm_epsilon", ("layer_norm_epsilon", "layer_norm_eps"), F32)
RMS_EPS = H("attention.layer_norm_rms_epsilon", "rms_norm_eps", F32)
HEAD_LENGTHS = (
    H("attention.key_length", "head_dim", need=False),
    H("attention.value_length", "head_dim", need=False),
)
EXPERTS = (
    H("expert_count", ("num_experts", "num_local_experts")),
    H("expert_used_count", "num_experts_per_tok"),
)
LOCAL_EXPERTS = (H("expert_count", ("num_local_experts", "num_experts")), EXPERTS[1])
TOKEN_TYPES = {"token_types": Shown("old files lack the key", ("type_vocab_size",), "tokenizer.ggml.token_type_count")}
TIED = Seen("tie_word_embeddings", lacks("output.weight"))
VOCAB_SIZE = H("vocab_size", "vocab_size", need=False)
VOCAB_ROWS = Seen("vocab_size", size("token_embd.weight"))
SILU = Fixed("hidden_act", "silu", also=("swish",))

DECODER = (*SHAPE, HEAD_KV, Rope(), RMS_EPS, *HEAD_LENGTHS, TIED, SILU, VOCAB_ROWS)

# -- tensors --------------------------------------------------------------------------------------------------------

ROPE = RopePermute("head_length")

EMBED = (R("token_embd.weight", "model.embed_tokens.weight", shape="vocab_size embedding_length"),)
HEAD = (R("output.weight", "lm_head.weight", need=False, shape="vocab_size embedding_length"),)
OUT_NORM = (R("output_norm.weight", "model.norm.weight", shape="embedding_length"),)
NORMS = (
    R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
)
ATTN: tuple[TensorRule, ...] = (
    R("blk.{b}.attn_q.{p}", L + "self_attn.q_proj.{p}", shape="head_rows embedding_length"),
    R("blk.{b}.attn_k.{p}", L + "self_attn.k_proj.{p}", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_v.{p}", L + "self_attn.v_proj.{p}", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_output.{p}", L + "self_attn.o_proj.{p}", shape="embedding_length head_rows"),
)
ATTN_ROPE = (  # models whose checkpoints pair rotary dimensions by halves, while the runtime pairs neighbours
    R("blk.{b}.attn_q.{p}", L + "self_attn.q_proj.{p}", ROPE, shape="head_rows embedding_length"),
    R("blk.{b}.attn_k.{p}", L + "self_attn.k_proj.{p}", ROPE, shape="head_kv_rows embedding_length"),
    *ATTN[2:],
)
QK_NORM = (
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="head_length"),
    R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="head_length"),
)
FFN = (
    R("blk.{b}.ffn_gate.{p}", L + "mlp.gate_proj.{p}", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up.{p}", L + "mlp.up_proj.{p}", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.{p}", L + "mlp.down_proj.{p}", shape="embedding_length feed_forward_length"),
)

# -- mixtures of experts --------------------------------------------------------------------------------------------

EXPERT_LENGTH = H("expert_feed_forward_length", "moe_intermediate_size")

ROUTER = (R("blk.{b}.ffn_gate_inp.weight", L + "mlp.gate.weight", shape="expert_count embedding_length", type="F32"),)
SEPARATE_EXPERTS = (  # as on the Hub
    R("blk.{b}.ffn_gate_exps.weight", L + "mlp.experts.{e}.gate_proj.weight",
      shape="expert_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up_exps.weight", L + "mlp.experts.{e}.up_proj.weight",
      shape="expert_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down_exps.weight", L + "mlp.experts.{e}.down_proj.weight",
      shape="embedding_length expert_feed_forward_length"),
)
FUSED_EXPERTS = (  # as transformers 5 holds them, and the Hub's newest models
    R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), L + "mlp.experts.gate_up_proj", Split((1, 1)),
      shape="expert_count 2*expert_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down_exps.weight", L + "mlp.experts.down_proj",
      shape="expert_count embedding_length expert_feed_forward_length"),
    R("blk.{b}.ffn_gate_up_exps.weight", L + "mlp.experts.gate_up_proj",
      shape="expert_count 2*expert_feed_forward_length embedding_length"),
)


# -- multi-token prediction: the last blocks, in HF as in GGUF -----------------------------------------------------------


def where(when: Callable[[Hparams, int], bool], *rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows, needed only in some blocks."""
    return tuple(replace(row, when=when) for row in rows)


def main_blocks(kv: Mapping[str, Any]) -> int:
    return kv["block_count"] - kv.get("nextn_predict_layers", 0)


def predicted_layers(config: Config, names: Collection[str]) -> int:
    """How many multi-token-prediction layers a checkpoint has: fine-tuning drops them, config.json keeps the number."""
    template = Template(L + "eh_proj.weight")
    return sum(template.match(name.replace("language_model.", "")) is not None for name in names)


def predicting(hp: Hparams, b: int) -> bool:
    return b >= main_blocks(hp)


NEXTN_BLOCKS = (
    Computed("block_count", lambda c: c["num_hidden_layers"] + c["num_nextn_predict_layers"], "num_hidden_layers", main_blocks),
    Seen("num_nextn_predict_layers", lambda facts: None, names=predicted_layers),
    Computed("nextn_predict_layers", lambda c: c["num_nextn_predict_layers"] or None,
             "num_nextn_predict_layers", lambda kv: kv.get("nextn_predict_layers", 0)),
)
NEXTN = (
    *where(predicting,
           R("blk.{b}.nextn.eh_proj.weight", L + "eh_proj.weight", shape="embedding_length 2*embedding_length"),
           R("blk.{b}.nextn.enorm.weight", L + "enorm.weight", shape="embedding_length"),
           R("blk.{b}.nextn.hnorm.weight", L + "hnorm.weight", shape="embedding_length")),
    R("blk.{b}.nextn.embed_tokens.weight", L + "embed_tokens.weight", need=False, shape="vocab_size embedding_length"),
    R("blk.{b}.nextn.shared_head_norm.weight", L + "shared_head.norm.weight", need=False, shape="embedding_length"),
    R("blk.{b}.nextn.shared_head_head.weight", L + "shared_head.head.weight", need=False, shape="vocab_size embedding_length"),
)


def headless(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows for a class without a language head, whose names have no `model.` in front."""
    return tuple(replace(row, hf=tuple(Template(t.text.removeprefix("model.")) for t in row.hf)) for row in rows)


def with_bias(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows, and behind each that ends in `{p}` one for its bias, which the runtime needs as much as the weight."""

    def of(row: TensorRule, part: str) -> TensorRule:
        gguf, hf = (tuple(Template(t.text.replace("{p}", part)) for t in names) for names in (row.gguf, row.hf))
        return replace(row, gguf=gguf, hf=hf, shape=row.shape and row.shape.split()[0] if part == "bias" else row.shape)

    return tuple(of(row, part) for row in rows for part in (("weight", "bias") if "p" in row.gguf[0].holes else ("",)))
