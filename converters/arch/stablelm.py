"""StableLM: LayerNorm, part of each head turned; StableLM 2 12B norms each head by weights of its own, with one norm per block.

Source: transformers `models/stablelm`; llama.cpp `src/models/stablelm.cpp`, `conversion/stablelm.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import INV_FREQ, UNSTATED_HEAD
from .phi import TURNED
from .qwen import ATTN, FFN, QKV_BIAS

TWO_NORMS = has("blk.0.ffn_norm.weight")

STABLELM = ArchSpec(
    "stablelm", ("StableLmForCausalLM", "StableLMEpochForCausalLM"), "stablelm",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_base=False), TURNED, VOCAB_ROWS, SILU,
        H("attention.layer_norm_epsilon", ("layer_norm_eps", "norm_eps"), F32),
        Computed("use_parallel_residual", lambda c: c["use_parallel_residual"], type=BOOL),
        Seen("use_parallel_residual", lambda found: not TWO_NORMS(found)), Seen("use_qkv_bias", has("blk.0.attn_q.bias")),
        Seen("qk_layernorm", has("blk.0.attn_q_norm.weight")), Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        *EMBED, *with_bias(R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length")),
        *where(lambda hp, b: not hp.get("use_parallel_residual", True), *with_bias(
            R("blk.{b}.ffn_norm.{p}", L + "post_attention_layernorm.{p}", shape="embedding_length"))),
        *ATTN, *where(lambda hp, b: False, *QKV_BIAS),
        R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_layernorm.norms.{e}.weight", each="attention.head_count",
          need=False, shape="head_length"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_layernorm.norms.{e}.weight", each="attention.head_count_kv",
          need=False, shape="head_length"),
        *FFN, *with_bias(R("output_norm.{p}", "model.norm.{p}", shape="embedding_length")),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    sizes=SIZES, ignore=INV_FREQ, example="stabilityai/stablelm-2-1_6b",
    defaults={**UNSTATED_HEAD, "use_parallel_residual": False,
              "partial_rotary_factor": lambda c: c.get("rope_pct", 0.25), "layer_norm_eps": same_as("norm_eps")},
)

LLAVA_STABLELM = Whole(
    "LlavaStableLMEpochForCausalLM", "llava_stablelm_epoch", text=STABLELM, aliases=(),
    parts=dict.fromkeys(("model.vision_tower.", "model.mm_projector.")), example="NousResearch/Obsidian-3B-V0.5",
)

SPECS = (STABLELM, LLAVA_STABLELM)
