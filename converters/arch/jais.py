"""Jais: GPT-2 with attention by distance and a gate, its scales folded into embedding and head; Jais 2: Llama's names again.

Source: the repository's `modeling_jais.py`, transformers `models/jais2`; llama.cpp `src/models/jais*.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gpt import CONV1D, T


def width_scale(config: Config) -> float:
    return config["mup_output_alpha"] * config["mup_width_scale"]


JAIS = ArchSpec(
    "jais", ("JAISLMHeadModel",), "jais",
    hparams=(
        H("block_count", "n_layer"), H("context_length", "n_positions"), H("embedding_length", "n_embd"),
        H("feed_forward_length", "n_inner"), H("attention.head_count", "n_head"), LN_EPSILON, VOCAB_ROWS,
        Const("attention.max_alibi_bias", 8.0, F32),
        Fixed("activation_function", "swiglu", refuse=True), Fixed("position_embedding_type", "alibi", refuse=True),
        Fixed("mup_scale_qk_dot_by_d", True, refuse=True), Fixed("scale_qk_dot_by_d", True, refuse=True),
        Fixed("alibi_scaling", None, refuse=True), Fixed("tie_word_embeddings", False, also=(True,)),
    ),
    tensors=with_bias(
        R("token_embd.weight", "transformer.wte.weight", Scale("embeddings_scale"), shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.{p}", T + "ln_1.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", T + "attn.c_attn.weight", CONV1D, shape="embedding_length 3*embedding_length"),
        R("blk.{b}.attn_qkv.bias", T + "attn.c_attn.bias", shape="3*embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.c_proj.weight", CONV1D, shape="embedding_length embedding_length"),
        R("blk.{b}.attn_output.bias", T + "attn.c_proj.bias", shape="embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "ln_2.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.c_fc.weight", CONV1D, shape="embedding_length feed_forward_length"),
        R("blk.{b}.ffn_up.bias", T + "mlp.c_fc.bias", shape="feed_forward_length"),
        R("blk.{b}.ffn_gate.weight", T + "mlp.c_fc2.weight", CONV1D, shape="embedding_length feed_forward_length"),
        R("blk.{b}.ffn_gate.bias", T + "mlp.c_fc2.bias", shape="feed_forward_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.c_proj.weight", CONV1D, shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.bias", T + "mlp.c_proj.bias", shape="embedding_length"),
        R("output_norm.{p}", "transformer.ln_f.{p}", shape="embedding_length"),
        R("output.weight", "lm_head.weight", Scale("width_scale"), shape="vocab_size embedding_length"),
    ),
    constants={"embeddings_scale": Constant("embeddings_scale"), "width_scale": Constant("width_scale")},
    defaults={"n_inner": lambda c: 4 * c["n_embd"], "embeddings_scale": same_as("mup_embeddings_scale"),
              "width_scale": width_scale},
    # The slopes are those of 8 powers of two, which is what the key says.
    ignore=(Template("transformer.relative_pe.slopes"), Template(T + "attn.bias"), Template(T + "attn.masked_bias")),
    example="inceptionai/jais-family-590m",
)

JAIS2 = ArchSpec(
    "jais2", ("Jais2ForCausalLM",), "jais2",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), *HEAD_LENGTHS, LN_EPSILON, TIED, VOCAB_ROWS,
        Computed("rope.dimension_count", lambda c: c["head_dim"]), Fixed("hidden_act", "relu2", refuse=True),
        Fixed("attention_bias", True, refuse=True), Fixed("mlp_bias", True, refuse=True),
    ),
    tensors=(
        *EMBED,
        *with_bias(
            R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length"), *ATTN,
            R("blk.{b}.ffn_norm.{p}", L + "post_attention_layernorm.{p}", shape="embedding_length"), *FFN[1:],
            R("output_norm.{p}", "model.norm.{p}", shape="embedding_length"),
        ), *HEAD,
    ),
    defaults={**DECODER_DEFAULTS, "layer_norm_eps": 1e-5}, sizes=SIZES, example="inceptionai/Jais-2-8B-Chat",
)

SPECS = (JAIS, JAIS2)
