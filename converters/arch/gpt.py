"""GPT-2, whose checkpoints store linear layers as [in, out]; and gpt-oss, as bf16 or in OpenAI's MXFP4."""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."
CONV1D = Transpose(conv1d=True)

GPT2 = ArchSpec(
    "gpt2", ("GPT2LMHeadModel", "GPT2Model"), "gpt2", headless=("GPT2Model",),
    hparams=(
        H("block_count", "n_layer"), H("context_length", ("n_positions", "n_ctx")), H("embedding_length", "n_embd"),
        H("feed_forward_length", "n_inner"), H("attention.head_count", "n_head"),
        H("attention.layer_norm_epsilon", "layer_norm_epsilon", F32),
        TIED, VOCAB_ROWS, Fixed("activation_function", "gelu_new", also=("gelu_pytorch_tanh",)),
        Fixed("scale_attn_by_inverse_layer_idx", False),
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("position_embd.weight", "transformer.wpe.weight", shape="context_length embedding_length", type="F32",
          no_lora=NO_GATHER),
        R("blk.{b}.attn_norm.weight", T + "ln_1.weight", shape="embedding_length"),
        R("blk.{b}.attn_norm.bias", T + "ln_1.bias", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", T + "attn.c_attn.weight", CONV1D, shape="embedding_length 3*embedding_length"),
        R("blk.{b}.attn_qkv.bias", T + "attn.c_attn.bias", shape="3*embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.c_proj.weight", CONV1D, shape="embedding_length embedding_length"),
        R("blk.{b}.attn_output.bias", T + "attn.c_proj.bias", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "ln_2.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.bias", T + "ln_2.bias", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.c_fc.weight", CONV1D, shape="embedding_length feed_forward_length"),
        R("blk.{b}.ffn_up.bias", T + "mlp.c_fc.bias", shape="feed_forward_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.c_proj.weight", CONV1D, shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.bias", T + "mlp.c_proj.bias", shape="embedding_length"),
        R("output_norm.weight", "transformer.ln_f.weight", shape="embedding_length"),
        R("output_norm.bias", "transformer.ln_f.bias", shape="embedding_length"),
        *HEAD,
    ),
    defaults={"n_inner": lambda config: 4 * config["n_embd"] if "n_embd" in config else None, "tie_word_embeddings": True},
    aliases=(("wte.", "transformer.wte."), ("wpe.", "transformer.wpe."), ("h.", "transformer.h."),
             ("ln_f.", "transformer.ln_f.")),
    ignore=(Template(T + "attn.bias"), Template(T + "attn.masked_bias")),
    example="openai-community/gpt2",
)


def mxfp4_checkpoint(facts: GgufFacts) -> Config | None:
    """The note in config.json that expert weights are stored in MXFP4."""
    if facts.types.get("blk.0.ffn_down_exps.weight") != "MXFP4":
        return None
    return {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}


E = L + "mlp.experts."
HALVES = Split(2, groups="expert_feed_forward_length")  # gate and up, row by row
GATE_UP = ("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight")
GPT_OSS = ArchSpec(
    "gpt-oss", ("GptOssForCausalLM",), "gpt_oss",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), Fixed("rope_parameters.truncate", False), RMS_EPS, *HEAD_LENGTHS, *LOCAL_EXPERTS,
        H("attention.sliding_window", "sliding_window"), H("expert_feed_forward_length", "intermediate_size"),
        Seen("quantization_config", mxfp4_checkpoint),
        Fixed("layer_types", lambda c: [("sliding_attention", "full_attention")[i % 2] for i in range(c["num_hidden_layers"])]),
        Seen("attention_bias", has("blk.0.attn_q.bias")), TIED, VOCAB_ROWS,
        Fixed("hidden_act", "silu"), Fixed("swiglu_limit", 7.0),
    ),
    tensors=(
        *EMBED, *ATTN,
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.attn_sinks.weight", L + "self_attn.sinks", shape="attention.head_count"),
        R("blk.{b}.ffn_gate_inp.{p}", L + "mlp.router.{p}", shape="expert_count embedding_length", type="F32"),
        R(GATE_UP, (E + "gate_up_proj_blocks", E + "gate_up_proj_scales"), PackMxfp4(), HALVES,
          shape="expert_count 2*expert_feed_forward_length embedding_blocks 16; "
                "expert_count 2*expert_feed_forward_length embedding_blocks"),
        R("blk.{b}.ffn_down_exps.weight", (E + "down_proj_blocks", E + "down_proj_scales"), PackMxfp4(),
          shape="expert_count embedding_length expert_blocks 16; expert_count embedding_length expert_blocks"),
        R(GATE_UP, E + "gate_up_proj", CONV1D, HALVES,
          shape="expert_count embedding_length 2*expert_feed_forward_length"),
        R("blk.{b}.ffn_down_exps.weight", E + "down_proj", CONV1D,
          shape="expert_count expert_feed_forward_length embedding_length"),
        R(("blk.{b}.ffn_gate_exps.bias", "blk.{b}.ffn_up_exps.bias"), E + "gate_up_proj_bias",
          Split(2, groups="expert_feed_forward_length", vector=True), shape="expert_count 2*expert_feed_forward_length"),
        R("blk.{b}.ffn_down_exps.bias", E + "down_proj_bias", shape="expert_count embedding_length"),
        *OUT_NORM, *HEAD,
    ),
    defaults={**DECODER_DEFAULTS, "rope_theta": 150000.0, "rope_parameters": scaled(
        rope_theta=150000.0, factor=32.0, truncate=False, original_max_position_embeddings=4096)},
    sizes={**SIZES, "embedding_blocks": lambda hp: hp["embedding_length"] // 32,
           "expert_blocks": lambda hp: hp["expert_feed_forward_length"] // 32},
    example="openai/gpt-oss-20b",
)

SPECS = (GPT2, GPT_OSS)
