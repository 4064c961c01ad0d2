"""PLM: DeepSeek's latent attention with its projections as the checkpoint has them, a squared ReLU, the head always tied.

Source: the model repository's `modeling_edgellm.py`; llama.cpp `src/models/plm.cpp`, `conversion/plm.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import FFN

PLM = ArchSpec(
    "plm", ("PLMForCausalLM",), "plm",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, H("attention.kv_lora_rank", "kv_lora_rank"),
        H("attention.value_length", "v_head_dim"), H("rope.dimension_count", "qk_rope_head_dim"),
        Computed("attention.key_length", lambda c: c["qk_nope_head_dim"] + c["qk_rope_head_dim"],
                 "qk_nope_head_dim", lambda kv: kv["attention.key_length"] - kv["rope.dimension_count"]),
        Fixed("hidden_act", "relu2"), Fixed("q_lora_rank", None, refuse=True), Fixed("attention_bias", False, refuse=True),
        Fixed("tie_word_embeddings", True, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="query_rows embedding_length", no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_kv_a_mqa.weight", L + "self_attn.kv_a_proj_with_mqa.weight", shape="latent_rows embedding_length",
          no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_kv_a_norm.weight", L + "self_attn.kv_a_layernorm.weight", shape="attention.kv_lora_rank"),
        R("blk.{b}.attn_kv_b.weight", L + "self_attn.kv_b_proj.weight", shape="key_value_rows attention.kv_lora_rank",
          no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length value_rows"),
        *FFN[1:], *OUT_NORM,
    ),
    sizes={
        "query_rows": lambda hp: hp["attention.head_count"] * hp["attention.key_length"],
        "value_rows": lambda hp: hp["attention.head_count"] * hp["attention.value_length"],
        "latent_rows": lambda hp: hp["attention.kv_lora_rank"] + hp["rope.dimension_count"],
        "key_value_rows": lambda hp: (
            hp["value_rows"] + hp["query_rows"] - hp["attention.head_count"] * hp["rope.dimension_count"]),
    },
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "tie_word_embeddings": True},
    example="PLM-Team/PLM-1.8B-Instruct",
)

SPECS = (PLM,)
