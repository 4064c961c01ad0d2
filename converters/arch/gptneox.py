"""GPT-NeoX and Pythia: Bloom's fused attention with rotary positions, blocks in parallel or not.

Source: transformers `models/gpt_neox`; llama.cpp `src/models/gptneox.cpp`, `conversion/gptneox.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "gpt_neox.layers.{b}."


def turned(config: Config) -> int:
    return int(config["rope_parameters"]["partial_rotary_factor"] * (config["hidden_size"] // config["num_attention_heads"]))


GPT_NEOX = ArchSpec(
    "gptneox", ("GPTNeoXForCausalLM",), "gpt_neox",
    hparams=(
        *SHAPE, H("attention.layer_norm_epsilon", "layer_norm_eps", F32), Rope(), TIED, VOCAB_ROWS,
        H("use_parallel_residual", "use_parallel_residual", BOOL, default=True),
        Computed("rope.dimension_count", turned, "rotary_pct", lambda kv: (
            kv["rope.dimension_count"] * kv["attention.head_count"] / kv["embedding_length"])),
        Seen("rotary_emb_base", lambda found: short(found.kv.get("rope.freq_base", 10000.0))),  # transformers reads this name
        Fixed("attention_bias", True, refuse=True), Fixed("hidden_act", "gelu", also=("gelu_fast", "gelu_new")),
    ),
    tensors=with_bias(
        R("token_embd.weight", "gpt_neox.embed_in.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.{p}", T + "input_layernorm.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.{p}", T + "attention.query_key_value.{p}", Split(3, groups="attention.head_count", join=True),
          shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.{p}", T + "attention.dense.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "post_attention_layernorm.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", T + "mlp.dense_h_to_4h.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", T + "mlp.dense_4h_to_h.{p}", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "gpt_neox.final_layer_norm.{p}", shape="embedding_length"),
        R("output.weight", "embed_out.weight", shape="vocab_size embedding_length"),
    ),
    defaults={"rope_theta": lambda c: c.get("rotary_emb_base", 10000.0),
              "partial_rotary_factor": lambda c: c.get("rotary_pct", 0.25)},
    aliases=(("lm_head.", "embed_out."),),
    ignore=tuple(Template(T + "attention." + name) for name in ("bias", "masked_bias", "rotary_emb.inv_freq")),
    example="EleutherAI/pythia-70m",
)

SPECS = (GPT_NEOX,)
