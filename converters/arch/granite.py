"""Granite: Llama's blocks with four multipliers, which GGUF has keys for; its experts stacked by the checkpoint itself.

Source: transformers `models/granite*`; llama.cpp `src/models/granite.cpp`, `granite-moe.cpp`, `conversion/granite.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .llama import BIASES, LLAMA, ROPE_DIM, UNSTATED_HEAD

SCALES = (
    H("attention.scale", "attention_multiplier", F32, default=1.0),
    H("embedding_scale", "embedding_multiplier", F32, default=1.0),
    H("residual_scale", "residual_multiplier", F32, default=1.0),
    H("logit_scale", "logits_scaling", F32, default=1.0),
)

GRANITE = ArchSpec(
    "granite", ("GraniteForCausalLM",), "granite", hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, *BIASES, *SCALES),
    tensors=LLAMA.tensors, derived=LLAMA.derived, defaults={**UNSTATED_HEAD, "rms_norm_eps": 1e-6}, sizes=SIZES,
    example="ibm-granite/granite-3.3-2b-instruct",
)

M, S = L + "block_sparse_moe.", L + "shared_mlp."


def experts(router: str, gate_up: str, down: str) -> tuple[TensorRule, ...]:
    """The rows of the experts under these names."""
    return (
        R("blk.{b}.ffn_gate_inp.weight", M + router, shape="expert_count embedding_length", type="F32"),
        R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), M + gate_up, Split((1, 1)),
          shape="expert_count 2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", M + down, shape="expert_count embedding_length feed_forward_length"),
    )


EXPERT_ROWS = (
    *experts("router.layer.weight", "input_linear.weight", "output_linear.weight"),
    *experts("router.weight", "experts.gate_up_proj", "experts.down_proj"),  # in transformers 5, and so in adapters
)

GRANITEMOE = ArchSpec(
    "granitemoe", ("GraniteMoeForCausalLM",), "granitemoe",
    hparams=(*DECODER, *LOCAL_EXPERTS, VOCAB_SIZE, ROPE_DIM, BIASES[0], *SCALES),
    tensors=(*EMBED, *NORMS, *ATTN_ROPE, *EXPERT_ROWS, *OUT_NORM, *HEAD), derived=LLAMA.derived,
    defaults={**GRANITE.defaults, "num_local_experts": 8, "num_experts_per_tok": 2}, sizes=SIZES,
    example="ibm-granite/granite-3.1-3b-a800m-instruct",
)

SHARED_LENGTH = "expert_shared_feed_forward_length"
SHARED_ROWS = (
    R(("blk.{b}.ffn_gate_shexp.weight", "blk.{b}.ffn_up_shexp.weight"), S + "input_linear.weight", Split((1, 1)),
      shape=f"2*{SHARED_LENGTH} embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", S + "output_linear.weight", shape=f"embedding_length {SHARED_LENGTH}"),
)
GRANITEMOESHARED = replace(
    GRANITEMOE, classes=("GraniteMoeSharedForCausalLM",), model_type="granitemoeshared",
    hparams=(*GRANITEMOE.hparams, H(SHARED_LENGTH, "shared_intermediate_size")),
    tensors=(*GRANITEMOE.tensors, *SHARED_ROWS),
    example="ibm-research/moe-7b-1b-active-shared-experts",
)

BACK = {"granitemoe": choice(GRANITEMOE, (GRANITEMOESHARED, has("blk.0.ffn_gate_shexp.weight")))}
SPECS = (GRANITE, GRANITEMOE, GRANITEMOESHARED)
