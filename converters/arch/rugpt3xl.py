"""ruGPT-3 XL: GPT-2 whose checkpoint has queries, keys and values apart, as linear layers.

Source: the model repository's `modeling_rugpt3xl.py`; llama.cpp `conversion/gpt2.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gpt import GPT2
from .starcoder import LAYER_NORMS

A = L + "self_attn."

RUGPT3XL = ArchSpec(
    "gpt2", ("RuGPT3XLForCausalLM",), "rugpt3xl",
    hparams=(*SHAPE, H("attention.head_count_kv", "num_key_value_heads", need=False), LN_EPSILON, TIED, VOCAB_ROWS),
    tensors=(
        *EMBED, R("position_embd.weight", "model.embed_positions.weight", shape="context_length embedding_length", type="F32",
                  no_lora=NO_GATHER),
        *LAYER_NORMS,
        *with_bias(
            R("blk.{b}.attn_qkv.{p}", (A + "q_proj.{p}", A + "k_proj.{p}", A + "v_proj.{p}"), Split(3, undo=True),
              shape="embedding_length embedding_length"),
            R("blk.{b}.attn_output.{p}", A + "o_proj.{p}", shape="embedding_length embedding_length"), *FFN[1:],
        ), *HEAD,
    ),
    defaults={"layer_norm_eps": 1e-5, "tie_word_embeddings": True}, example="evilfreelancer/ruGPT3XL",
)

BACK = {"gpt2": choice(GPT2)}
SPECS = (RUGPT3XL,)
