"""CodeShell: StarCoder's blocks with rotary positions and groups of queries.

Source: the model repository's `modeling_codeshell.py`; llama.cpp `src/models/codeshell.cpp`, `conversion/codeshell.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."

CODESHELL = ArchSpec(
    "codeshell", ("CodeShellForCausalLM",), "codeshell",
    hparams=(
        H("block_count", "n_layer"), H("context_length", "n_positions"), H("embedding_length", "n_embd"),
        H("feed_forward_length", "n_inner"), H("attention.head_count", "n_head"), LN_EPSILON, VOCAB_ROWS,
        H("attention.head_count_kv", "num_query_groups"), Fixed("group_query_attention", True, refuse=True),
        Const("rope.freq_base", 10000.0, F32), Const("rope.scaling.type", "linear", ValueType.STRING),
        Const("rope.scaling.factor", 1.0, F32), Fixed("position_embedding_type", "rope", refuse=True),
        Fixed("activation_function", "gelu_pytorch_tanh", also=("gelu_new", "gelu")),
        Fixed("scale_attn_weights", True, refuse=True), Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=with_bias(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.{p}", T + "ln_1.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.{p}", T + "attn.c_attn.{p}", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.{p}", T + "attn.c_proj.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "ln_2.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", T + "mlp.c_fc.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", T + "mlp.c_proj.{p}", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "transformer.ln_f.{p}", shape="embedding_length"),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    sizes={**SIZES, "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    defaults={"n_inner": lambda c: 4 * c["n_embd"]}, example="WisdomShell/CodeShell-7B",
    ignore=tuple(Template(T + "attn." + name) for name in ("rotary_emb.inv_freq", "bias", "masked_bias")),
)

SPECS = (CODESHELL,)
