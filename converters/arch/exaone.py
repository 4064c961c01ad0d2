"""EXAONE 3, with names like GPT-2's, and EXAONE 4, which normalises behind attention and MLP, not before them.

EXAONE 4.5 has layers of multi-token prediction (`mtp.*`), which become the last blocks; the runtime passes them by.
Source: transformers `models/exaone4`, the published modeling_exaone.py; llama.cpp `src/models/exaone.cpp`, `exaone4.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import or_null
from .gemma import layer_types, sliding
from .llama import ROPE_DIM
from .qwen import ATTN, FFN
from .qwen35 import STACKS, mtp_layers, of_mtp

T = "transformer.h.{b}."
EXAONE = ArchSpec(
    "exaone", ("ExaoneForCausalLM",), "exaone",
    hparams=(
        H("block_count", ("num_layers", "num_hidden_layers")), CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT,
        HEAD_KV, H("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", F32), Rope(), *HEAD_LENGTHS, ROPE_DIM, TIED,
        VOCAB_ROWS,
        Fixed("activation_function", "silu", also=("swish",), refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "ln_1.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "ln_2.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", T + "attn.attention.q_proj.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", T + "attn.attention.k_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_v.weight", T + "attn.attention.v_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.attention.out_proj.weight", shape="embedding_length head_rows"),
        R("blk.{b}.ffn_gate.weight", T + "mlp.c_fc_0.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.c_fc_1.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.c_proj.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "transformer.ln_f.weight", shape="embedding_length"), *HEAD,
    ),
    derived=(LLAMA3_FREQS,), defaults=DECODER_DEFAULTS, sizes=SIZES,
    ignore=(Template(T + "attn.attention.rotary.inv_freq"), Template("transformer.rotary.inv_freq")),
    example="LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct",
)


def periodic(config: Config) -> list[str]:
    """Layer types of a config with a pattern: a period, or letters, of which L slides; without a window none does."""
    pattern, blocks = config.get("sliding_window_pattern", 4), range(config["num_hidden_layers"])
    if config.get("sliding_window") is None:
        return layer_types([False] * len(blocks))
    if isinstance(pattern, str):
        return layer_types([pattern[b % len(pattern)] == "L" for b in blocks])
    return layer_types([bool(pattern) and (b + 1) % pattern != 0 for b in blocks])


def windowed(config: Config) -> list[bool] | None:
    """Which blocks slide; the runtime has no such key without a window."""
    return sliding(config) if config.get("sliding_window") is not None else None


def slides(kv: Mapping[str, Any]) -> list[str]:
    """Layer types of a file's keys; the runtime takes every fourth block as full where none are listed."""
    count = kv["block_count"]
    if "attention.sliding_window" not in kv:
        return layer_types([False] * count)
    return layer_types([bool(s) for s in kv.get("attention.sliding_window_pattern", [(b + 1) % 4 != 0 for b in range(count)])])


def of_main(kv: Mapping[str, Any]) -> list[str]:
    """The same of a file whose last blocks predict."""
    return slides({**kv, "block_count": main_blocks(kv)})


NORMS_BEHIND = (
    R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", shape="embedding_length"),
)
MTP = (  # what joins the first layer of multi-token prediction to the model
    R("blk.{m}.nextn.eh_proj.weight", "mtp.fc.weight", shape="embedding_length 2*embedding_length"),
    R("blk.{m}.nextn.enorm.weight", "mtp.pre_fc_norm_embedding.weight", shape="embedding_length"),
    R("blk.{m}.nextn.hnorm.weight", "mtp.pre_fc_norm_hidden.weight", shape="embedding_length"),
    R("blk.{m}.nextn.shared_head_norm.weight", "mtp.norm.weight", shape="embedding_length"),
)
MTP_BLOCKS = (
    Computed("block_count", lambda c: c["num_hidden_layers"] + c["num_nextn_predict_layers"], "num_hidden_layers", main_blocks),
    Seen("num_nextn_predict_layers", lambda facts: None, names=mtp_layers),
)
EXAONE4 = ArchSpec(
    "exaone4", ("Exaone4ForCausalLM",), "exaone4",
    hparams=(
        *without(DECODER, "block_count"), *MTP_BLOCKS, VOCAB_SIZE,
        Computed("nextn_predict_layers", lambda c: c["num_nextn_predict_layers"] or None,
                 "num_nextn_predict_layers", lambda kv: kv.get("nextn_predict_layers") or None),
        H("attention.sliding_window", "sliding_window", default=None),
        Computed("attention.sliding_window_pattern", windowed, "layer_types", of_main, BOOL),
        Note("the runtime has a sliding window in models of 64 blocks only: this one attends, and rotates, everywhere",
             lambda c: any(windowed(c) or ()) and c["num_hidden_layers"] != 64),
    ),
    tensors=(
        *EMBED, *ATTN, *QK_NORM, *FFN, *NORMS_BEHIND, *of_mtp(*ATTN, *QK_NORM, *FFN, *NORMS_BEHIND), *MTP, *OUT_NORM, *HEAD,
    ),
    derived=(LLAMA3_FREQS,), stacks=STACKS,
    defaults={"num_key_value_heads": 32, "sliding_window": or_null("sliding_window", 4096),
              "layer_types": periodic, "num_nextn_predict_layers": 0},
    sizes={**SIZES, "rope.dimension_count": SIZES["head_length"], "main_blocks": main_blocks},
    example="LGAI-EXAONE/EXAONE-4.0-1.2B",
)

SPECS = (EXAONE, EXAONE4)
