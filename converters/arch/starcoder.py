"""StarCoder (GPT-BigCode): GPT-2 with one key-value head and plain linear layers; StarCoder 2: Llama's names.

Source: transformers `models/gpt_bigcode`, `starcoder2`; llama.cpp `src/models/starcoder.cpp`, `starcoder2.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."
LAYER_NORMS = with_bias(
    R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length"),
    R("blk.{b}.ffn_norm.{p}", L + "post_attention_layernorm.{p}", shape="embedding_length"),
    R("output_norm.{p}", "model.norm.{p}", shape="embedding_length"),
)

STARCODER = ArchSpec(
    "starcoder", ("GPTBigCodeForCausalLM",), "gpt_bigcode",
    hparams=(
        H("block_count", "n_layer"), H("context_length", "n_positions"), H("embedding_length", "n_embd"),
        H("feed_forward_length", "n_inner"), H("attention.head_count", "n_head"), LN_EPSILON, TIED, VOCAB_ROWS,
        Const("attention.head_count_kv", 1), Fixed("multi_query", True, refuse=True),
        Fixed("activation_function", "gelu_pytorch_tanh", also=("gelu_new", "gelu")),
        Fixed("scale_attn_weights", True, refuse=True),
    ),
    tensors=with_bias(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("position_embd.weight", "transformer.wpe.weight", shape="context_length embedding_length", type="F32",
          no_lora=NO_GATHER),
        R("blk.{b}.attn_norm.{p}", T + "ln_1.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.{p}", T + "attn.c_attn.{p}", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.{p}", T + "attn.c_proj.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "ln_2.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", T + "mlp.c_fc.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", T + "mlp.c_proj.{p}", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "transformer.ln_f.{p}", shape="embedding_length"), *HEAD,
    ),
    sizes={**SIZES, "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    defaults={"n_inner": lambda c: 4 * c["n_embd"], "multi_query": True, "tie_word_embeddings": True},
    ignore=(Template(T + "attn.bias"), Template(T + "attn.masked_bias")), example="bigcode/starcoderbase-1b",
)

STARCODER2 = ArchSpec(
    "starcoder2", ("Starcoder2ForCausalLM",), "starcoder2",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), *HEAD_LENGTHS, H("attention.layer_norm_epsilon", "norm_epsilon", F32), TIED, VOCAB_ROWS,
        Fixed("use_bias", True, refuse=True), Fixed("sliding_window", None),
        Fixed("hidden_act", "gelu_pytorch_tanh", also=("gelu_new", "gelu")),
    ),
    tensors=(
        *EMBED, *LAYER_NORMS, *with_bias(
            *ATTN,
            R("blk.{b}.ffn_up.{p}", L + "mlp.c_fc.{p}", shape="feed_forward_length embedding_length"),
            R("blk.{b}.ffn_down.{p}", L + "mlp.c_proj.{p}", shape="embedding_length feed_forward_length"),
        ), *HEAD,
    ),
    sizes=SIZES, defaults={"num_key_value_heads": 2, "norm_epsilon": 1e-5, "tie_word_embeddings": True},
    example="bigcode/starcoder2-3b",
)

SPECS = (STARCODER, STARCODER2)
