"""Apertus: no gate in front of its xIELU, whose parameters, learned block by block, are keys in GGUF; queries and keys normed.

Source: transformers `models/apertus`, `activations.py`; llama.cpp `src/models/apertus.cpp`, `conversion/llama.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import LLAMA, ROPE_DIM, UNSTATED_HEAD
from .qwen import ATTN

ACT = L + "mlp.act_fn."
APERTUS = ArchSpec(
    "apertus", ("ApertusForCausalLM",), "apertus",
    hparams=(*without(DECODER, "hidden_act"), VOCAB_SIZE, ROPE_DIM, Fixed("hidden_act", "xielu", refuse=True),
             Fixed("attention_bias", False, refuse=True)),
    tensors=(
        *EMBED, *ATTN, *QK_NORM,
        R("blk.{b}.attn_norm.weight", L + "attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "feedforward_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", L + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    keyed=(Keyed("xielu.alpha_n", Template(ACT + "alpha_n"), (1,)), Keyed("xielu.alpha_p", Template(ACT + "alpha_p"), (1,)),
           Keyed("xielu.beta", Template(ACT + "beta")), Keyed("xielu.eps", Template(ACT + "eps"))),
    derived=LLAMA.derived, sizes=SIZES, example="swiss-ai/Apertus-8B-Instruct-2509",
    defaults={**UNSTATED_HEAD, "max_position_embeddings": 65536, "rms_norm_eps": 1e-5, "rope_theta": 12000000.0,
              "rope_parameters": {"rope_type": "llama3", "rope_theta": 12000000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}},
)

SPECS = (APERTUS,)
