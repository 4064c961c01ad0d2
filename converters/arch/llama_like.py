"""Models that are Llama or Qwen3 but for a key or two: Nanbeige 4.2, Maincoder, openPangu-Embedded.

Source: the model repositories' own code; llama.cpp `src/models/nanbeige.cpp`, `maincoder.cpp`, `pangu-embed.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .arcee import ROTATED
from .common import *
from .llama import INV_FREQ, ROPE_DIM
from .qwen import ATTN, FFN, NO_BIAS

NANBEIGE = ArchSpec(
    "nanbeige", ("NanbeigeForCausalLM",), "nanbeige",
    hparams=(
        *DECODER, VOCAB_SIZE, ROPE_DIM, NO_BIAS, Fixed("mlp_bias", False, refuse=True),
        H("num_loops", "num_loops", default=1), H("skip_loop_final_norm", "skip_loop_final_norm", BOOL, default=False),
    ),
    tensors=(*EMBED, *NORMS, *ROTATED, *ATTN[2:], *FFN, *OUT_NORM, *HEAD), derived=(LLAMA3_FREQS,), sizes=SIZES,
    ignore=INV_FREQ, defaults={"num_key_value_heads": same_as("num_attention_heads")}, example="Nanbeige/Nanbeige4.2-3B",
)

MAINCODER = ArchSpec(
    "maincoder", ("MaincoderForCausalLM",), "maincoder",
    hparams=(*DECODER, Computed("rope.dimension_count", lambda c: c["head_dim"]), NO_BIAS,
             Fixed("mlp_bias", False, refuse=True)),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *FFN, *OUT_NORM, *HEAD), sizes=SIZES, defaults=DECODER_DEFAULTS,
    example="Maincode/Maincoder-1B",
)

PANGU = ArchSpec(
    "pangu-embedded", ("PanguEmbeddedForCausalLM",), "PanguEmbedded",
    hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, Fixed("bias", True, refuse=True)),
    tensors=(
        *EMBED, *NORMS, *with_bias(
            R("blk.{b}.attn_q.{p}", L + "self_attn.q_proj.{p}", shape="head_rows embedding_length"),
            R("blk.{b}.attn_k.{p}", L + "self_attn.k_proj.{p}", shape="head_kv_rows embedding_length"),
            R("blk.{b}.attn_v.{p}", L + "self_attn.v_proj.{p}", shape="head_kv_rows embedding_length"),
            R("blk.{b}.attn_output.{p}", L + "self_attn.o_proj.{p}", shape="embedding_length head_rows"),
        ), *FFN, *OUT_NORM, *HEAD,
    ),
    sizes=SIZES, defaults=DECODER_DEFAULTS, ignore=INV_FREQ, example="FreedomIntelligence/openPangu-Embedded-7B-V1.1",
)

SPECS = (NANBEIGE, MAINCODER, PANGU)
