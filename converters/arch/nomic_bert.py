"""Nomic BERT, with rotary positions: dense with a gate, or a mixture of experts in every other block.

Source: transformers `models/nomic_bert`, and the code on the Hub (`nomic-ai/nomic-bert-2048`) for the mixture; llama.cpp
`src/models/nomic-bert.cpp`, `nomic-bert-moe.cpp`, `conversion/bert.py`.
"""

from __future__ import annotations

from typing import Any

from ..rules.words import *
from .bert import LABELS
from .common import *

L = "encoder.layers.{b}."
V5 = "layers.{b}."
TRAINED = {8192: 2048, 2048: 512}  # the context that the Hub's configs state -> the one that the weights are trained for


def trained(config: Config) -> Any:
    if (whole := config.get("max_position_embeddings")) is not None:  # of transformers 5
        return whole
    stated = config["n_positions"]
    return TRAINED.get(stated, stated) if config.get("max_trained_positions", 2048) == 2048 else stated


def spelled(order: int) -> tuple[HparamRule, ...]:
    """The sizes under transformers' names (1) or the Hub's (-1), of which the first is written on the way back."""
    return (
        H("block_count", ("num_hidden_layers", "n_layer")[::order]), H("embedding_length", ("hidden_size", "n_embd")[::order]),
        H("feed_forward_length", ("intermediate_size", "n_inner")[::order]),
        H("attention.head_count", ("num_attention_heads", "n_head")[::order]),
        H("attention.layer_norm_epsilon", ("layer_norm_eps", "layer_norm_epsilon")[::order], F32),
        Computed("context_length", trained, ("max_position_embeddings", "n_positions")[::order][0],
                 lambda kv: kv["context_length"]),
    )


SHAPE = (
    Const("attention.causal", False, BOOL), POOLING, LABELS, VOCAB_ROWS, Seen("type_vocab_size", size("token_types.weight")),
    Fixed("prenorm", False, refuse=True), Fixed("rotary_emb_fraction", 1.0, refuse=True),
    Fixed("rotary_emb_interleaved", False, refuse=True), Fixed("causal", False, refuse=True),
    Note("rotary_scaling_factor: the class stretches long texts by it, the runtime as it is told on its command line",
         lambda config: config.get("rotary_scaling_factor")),
)
EMBEDDINGS = (
    R("token_embd.weight", "embeddings.word_embeddings.weight", shape="vocab_size embedding_length"),
    R("token_types.weight", "embeddings.token_type_embeddings.weight", type="F32", no_lora=NO_GATHER,
      shape="token_types embedding_length"),
    *with_bias(R("token_embd_norm.{p}", "emb_ln.{p}", shape="embedding_length")),
)
ATTN = (
    R("blk.{b}.attn_qkv.{p}", L + "attn.Wqkv.{p}", shape="3*embedding_length embedding_length"),
    R("blk.{b}.attn_output.{p}", L + "attn.out_proj.{p}", shape="embedding_length embedding_length"),
)
LAYER_NORMS = with_bias(R("blk.{b}.attn_output_norm.{p}", L + "norm1.{p}", shape="embedding_length"),
                        R("blk.{b}.layer_output_norm.{p}", L + "norm2.{p}", shape="embedding_length"))
IGNORE = (Template("pooler.dense.{p}"), Template("cls.predictions.bias"), Template("cls.predictions.transform.dense.{p}"),
          Template("cls.predictions.transform.layer_norm.{p}"), Template("cls.predictions.decoder.{p}"),
          Template(L + "mlp.experts.bias"))
DEFAULTS = {"type_vocab_size": 2, "tie_word_embeddings": True}

NOMIC_BERT = ArchSpec(
    "nomic-bert", ("NomicBertModel",), "nomic_bert", fits=lambda c: not c.get("moe_every_n_layers"),
    shown=TOKEN_TYPES,
    hparams=(
        *spelled(1), *SHAPE, Rope(default_theta=1000.0), Fixed("hidden_act", "silu", refuse=True),
        Fixed("activation_function", "swiglu", refuse=True), Fixed("qkv_proj_bias", False, refuse=True),
        Fixed("mlp_fc1_bias", False, refuse=True), Fixed("mlp_fc2_bias", False, refuse=True),
    ),
    tensors=(
        *EMBEDDINGS, *LAYER_NORMS,
        R("blk.{b}.attn_qkv.weight", L + "attn.Wqkv.weight", shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.weight", L + "attn.out_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", L + "mlp.fc11.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_gate.weight", L + "mlp.fc12.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", L + "mlp.fc2.weight", shape="embedding_length feed_forward_length"),
        *in_memory(
            R("blk.{b}.attn_qkv.weight", tuple(V5 + f"self_attn.{x}_proj.weight" for x in "qkv"), Split(3, undo=True),
              shape="embedding_length embedding_length"),
            R("blk.{b}.attn_output.weight", V5 + "self_attn.o_proj.weight", shape="embedding_length embedding_length"),
            R("blk.{b}.ffn_up.weight", V5 + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
            R("blk.{b}.ffn_gate.weight", V5 + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
            R("blk.{b}.ffn_down.weight", V5 + "mlp.down_proj.weight", shape="embedding_length feed_forward_length")),
    ),
    aliases=(("bert.", ""), ("nomic_bert.", "")), ignore=IGNORE, head=False, example="nomic-ai/nomic-embed-text-v1.5",
    defaults={**DEFAULTS, "rope_theta": lambda c: c.get("rotary_emb_base", 1000.0 if "hidden_size" in c else 10000.0)},
)


def mixes(hp: Hparams, b: int) -> bool:
    return b % hp["moe_every_n_layers"] == 1


def dense(hp: Hparams, b: int) -> bool:
    return not mixes(hp, b)


X = L + "mlp.experts.mlp."
EXPERT_ROWS = ("expert_rows", "embedding_length"), ("expert_count", "feed_forward_length", "embedding_length")
NOMIC_BERT_MOE = ArchSpec(
    "nomic-bert-moe", ("NomicBertModel",), "nomic_bert", fits=lambda c: bool(c.get("moe_every_n_layers")),
    shown=TOKEN_TYPES,
    hparams=(
        *spelled(-1), *SHAPE, H("rope.freq_base", "rotary_emb_base", F32, default=10000.0),
        H("expert_count", ("num_experts", "num_local_experts")), H("expert_used_count", "moe_top_k"),
        H("moe_every_n_layers", "moe_every_n_layers"), Fixed("activation_function", "gelu", refuse=True),
        Fixed("qkv_proj_bias", True, refuse=True), Fixed("mlp_fc1_bias", True, refuse=True),
        Fixed("mlp_fc2_bias", True, refuse=True), Fixed("moe_normalize_expert_weights", False, refuse=True),
        Fixed("num_shared_experts", 0, refuse=True), Seen("max_trained_positions", lambda facts: facts.kv["context_length"]),
        Note("the bias behind each mixture is not in GGUF: the runtime adds none", lambda config: True),
    ),
    tensors=(
        *EMBEDDINGS, *LAYER_NORMS, *with_bias(*ATTN),
        *where(dense,
               R("blk.{b}.ffn_up.{p}", L + "mlp.fc1.{p}", shape="feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down.{p}", L + "mlp.fc2.{p}", shape="embedding_length feed_forward_length")),
        *where(mixes,
               R("blk.{b}.ffn_gate_inp.weight", L + "mlp.router.layer.weight", shape="expert_count embedding_length",
                 type="F32"),
               R("blk.{b}.ffn_up_exps.weight", X + "w1", Reshape(*EXPERT_ROWS)),
               R("blk.{b}.ffn_down_exps.weight", X + "w2", Reshape(*EXPERT_ROWS), Transpose())),
    ),
    ignore=IGNORE, head=False, defaults=DEFAULTS,
    sizes={"expert_rows": lambda hp: hp["expert_count"] * hp["feed_forward_length"]},
    example="nomic-ai/nomic-embed-text-v2-moe",
)
SPECS = (NOMIC_BERT, NOMIC_BERT_MOE)
