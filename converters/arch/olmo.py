"""OLMo 1 to 3 and OLMoE: norms without weights, then behind each sublayer; from OLMo 2 on, queries and keys normed as a whole.

Source: transformers `models/olmo*`; llama.cpp `src/models/olmo.cpp`, `olmo2.cpp`, `olmoe.cpp`, `conversion/olmo.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern, periodic, sliding
from .llama import ATTN_ROPE, INV_FREQ, UNSTATED_HEAD
from .qwen import ATTN, FFN

NO_BIAS = Fixed("attention_bias", False, refuse=True)
OWN_HEAD = Fixed("tie_word_embeddings", False, refuse=True)  # the runtime wants a head
QK_WHOLE = (
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="head_rows"),
    R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="head_kv_rows"),
)

OLMO = ArchSpec(
    "olmo", ("OlmoForCausalLM", "OLMoForCausalLM"), "olmo",
    hparams=(*without(DECODER, "attention.layer_norm_rms_epsilon"), NO_BIAS,
             Const("attention.layer_norm_epsilon", 1e-5, F32), H("attention.clamp_kqv", "clip_qkv", F32, need=False)),
    tensors=(*EMBED, *ATTN_ROPE, *FFN, *HEAD),
    defaults=UNSTATED_HEAD, sizes=SIZES, ignore=INV_FREQ, example="allenai/OLMo-1.7-7B-hf",
)

OLMO2 = ArchSpec(
    "olmo2", ("Olmo2ForCausalLM",), "olmo2", hparams=(*without(DECODER, "tie_word_embeddings"), NO_BIAS, OWN_HEAD),
    tensors=(
        *EMBED, *ATTN, *QK_WHOLE,
        R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", shape="embedding_length"),
        *FFN, *OUT_NORM, *HEAD,
    ),
    defaults={**UNSTATED_HEAD, "rms_norm_eps": 1e-5}, sizes=SIZES, example="allenai/OLMo-2-1124-7B-Instruct",
)

OLMO3 = ArchSpec(
    "olmo2", ("Olmo3ForCausalLM",), "olmo3",
    hparams=(
        *without(OLMO2.hparams, "rope_parameters"), Rope(default_sliding_theta=500000.0),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", sliding, "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
    ),
    tensors=OLMO2.tensors,
    defaults={**OLMO2.defaults, "rope_theta": 500000.0, "sliding_window": 4096,
              "layer_types": lambda config: layer_types(periodic(4, config["num_hidden_layers"]))},
    sizes=SIZES, example="allenai/Olmo-3-7B-Instruct",
)

OLMOE = ArchSpec(
    "olmoe", ("OlmoeForCausalLM",), "olmoe",
    hparams=(*OLMO2.hparams, *EXPERTS, Fixed("norm_topk_prob", False, refuse=True), Fixed("clip_qkv", None, refuse=True)),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_WHOLE, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *OUT_NORM, *HEAD),
    defaults={**OLMO2.defaults, "num_experts": 64, "num_experts_per_tok": 8},
    sizes={**SIZES, "expert_feed_forward_length": lambda hp: hp["feed_forward_length"]}, example="allenai/OLMoE-1B-7B-0924",
)

BACK = {"olmo2": choice(OLMO2, (OLMO3, says("olmo2.attention.sliding_window")))}
SPECS = (OLMO, OLMO2, OLMO3, OLMOE)
