"""LFM2 and its mixture of experts: short convolutions in most blocks, attention in those with key-value heads.

Source: transformers `models/lfm2`, `lfm2_moe`; llama.cpp `src/models/lfm2.cpp`, `conversion/lfm2.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .llama import MULTIMODAL
from .qwen import heads_or

KINDS = ("conv", "full_attention")


def heads_by_block(config: Config) -> list[int]:
    """Key-value heads of each block; none where it convolves."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {*KINDS}:
        raise ValueError(f"{count} times conv or full_attention is expected, not {kinds}")
    return [config["num_key_value_heads"] * (kind != "conv") for kind in kinds]


def listed(kv: Mapping[str, Any]) -> list[int]:
    heads = kv["attention.head_count_kv"]
    return [heads] * kv["block_count"] if isinstance(heads, int) else list(heads)


def by_index(config: Config) -> list[str]:
    """Layer types of a config that numbers its attention blocks, or says nothing: then all are."""
    blocks = range(config["num_hidden_layers"])
    full = config.get("full_attn_idxs")
    return [KINDS[full is None or b in full] for b in blocks]


def adjusted(config: Config) -> int:
    """Rows of the MLP, which the class computes from the stated ones: two thirds, a multiple, rounded up."""
    stated = config["block_ff_dim" if "block_ff_dim" in config else "intermediate_size"]
    if not config["block_auto_adjust_ff_dim"]:
        return stated
    rows = int(config["block_ffn_dim_multiplier"] * int(2 * stated / 3))
    return config["block_multiple_of"] * -(-rows // config["block_multiple_of"])


def attends(hp: Hparams, b: int) -> bool:
    return listed(hp)[b] > 0


def convolves(hp: Hparams, b: int) -> bool:
    return not attends(hp, b)


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"]


def sparse(hp: Hparams, b: int) -> bool:
    return not dense(hp, b)


SHAPE = (
    BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, Rope(default_theta=1000000.0), TIED, VOCAB_SIZE, VOCAB_ROWS,
    H("attention.layer_norm_rms_epsilon", "norm_eps", F32), H("shortconv.l_cache", "conv_L_cache"),
    Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: max(listed(kv))),
    Seen("layer_types", lambda facts: [KINDS[heads > 0] for heads in listed(facts.kv)]),
    Fixed("conv_bias", False, refuse=True),
)
F, A, C = L + "feed_forward.", L + "self_attn.", L + "conv."
MIXERS = (
    R("blk.{b}.attn_norm.weight", L + "operator_norm.weight", shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", L + "ffn_norm.weight", shape="embedding_length"),
    *where(attends,
           R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="embedding_length embedding_length"),
           R("blk.{b}.attn_k.weight", A + "k_proj.weight", shape="head_kv_rows embedding_length"),
           R("blk.{b}.attn_v.weight", A + "v_proj.weight", shape="head_kv_rows embedding_length"),
           R("blk.{b}.attn_output.weight", A + "out_proj.weight", shape="embedding_length embedding_length"),
           R("blk.{b}.attn_q_norm.weight", A + "q_layernorm.weight", shape="head_length"),
           R("blk.{b}.attn_k_norm.weight", A + "k_layernorm.weight", shape="head_length")),
    *where(convolves,
           R("blk.{b}.shortconv.in_proj.weight", C + "in_proj.weight", shape="3*embedding_length embedding_length"),
           R("blk.{b}.shortconv.out_proj.weight", C + "out_proj.weight", shape="embedding_length embedding_length"),
           R("blk.{b}.shortconv.conv.weight", C + "conv.weight",
             Reshape(("embedding_length", 1, "shortconv.l_cache"), ("embedding_length", "shortconv.l_cache")), type="F32")),
)
FFN = (
    R("blk.{b}.ffn_gate.weight", F + "w1.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up.weight", F + "w3.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", F + "w2.weight", shape="embedding_length feed_forward_length"),
)
OUT_NORM = (R("token_embd_norm.weight", "model.embedding_norm.weight", shape="embedding_length"),)
LFM2_SIZES = {
    "head_length": lambda hp: hp["embedding_length"] // hp["attention.head_count"],
    "head_kv_rows": lambda hp: max(listed(hp)) * hp["head_length"],
}
DEFAULTS = {"num_key_value_heads": heads_or(8), "max_position_embeddings": 128000, "norm_eps": 1e-5, "conv_L_cache": 3,
            "rope_theta": 1000000.0, "layer_types": by_index, "tie_word_embeddings": True}

LFM2 = ArchSpec(
    "lfm2", ("Lfm2ForCausalLM", "LFM2ForCausalLM", "Lfm2Model"), "lfm2", headless=("Lfm2Model",),
    hparams=(
        *SHAPE, POOLING,
        Computed("feed_forward_length", adjusted, "intermediate_size", lambda kv: kv["feed_forward_length"]),
        Seen("block_auto_adjust_ff_dim", lambda facts: False),  # the file has the rows themselves
    ),
    tensors=(*EMBED, *MIXERS, *FFN, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "intermediate_size": same_as("block_ff_dim"), "block_auto_adjust_ff_dim": True,
              "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256,
              "tie_word_embeddings": lambda config: config.get("tie_embedding", True)},
    sizes=LFM2_SIZES, example="LiquidAI/LFM2-1.2B",
)

X = F + "experts."
LFM2MOE = ArchSpec(
    "lfm2moe", ("Lfm2MoeForCausalLM",), "lfm2_moe",
    hparams=(
        *SHAPE, FFN_LENGTH, *EXPERTS, EXPERT_LENGTH, H("leading_dense_block_count", "num_dense_layers"),
        Const("expert_gating_func", 2), Fixed("norm_topk_prob", True), Fixed("routed_scaling_factor", 1.0),
        Fixed("use_expert_bias", True, refuse=True),
    ),
    tensors=(
        *EMBED, *MIXERS, *where(dense, *FFN),
        *where(sparse,
               R("blk.{b}.ffn_gate_inp.weight", F + "gate.weight", shape="expert_count embedding_length", type="F32"),
               R("blk.{b}.exp_probs_b.bias", F + "expert_bias", shape="expert_count", hf_dtype="F32"),
               R("blk.{b}.ffn_gate_exps.weight", X + "{e}.w1.weight", shape="expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_up_exps.weight", X + "{e}.w3.weight", shape="expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down_exps.weight", X + "{e}.w2.weight", shape="embedding_length expert_feed_forward_length"),
               R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), X + "gate_up_proj", Split((1, 1)),
                 shape="expert_count 2*expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down_exps.weight", X + "down_proj",
                 shape="expert_count embedding_length expert_feed_forward_length")),
        *OUT_NORM, *HEAD,
    ),
    defaults={**DEFAULTS, "num_dense_layers": 2, "num_experts_per_tok": 4},
    sizes=LFM2_SIZES, example="LiquidAI/LFM2-8B-A1B",
)

LFM2_EMBED = replace(
    LFM2, classes=("Lfm2BidirectionalModel",), headless=(), head=False, aliases=(("model.", ""),),
    hparams=(*without(LFM2.hparams, "tie_word_embeddings"), Const("attention.causal", False, BOOL)),
    tensors=headless(*EMBED, *MIXERS, *FFN, *OUT_NORM), example="LiquidAI/LFM2.5-Embedding-350M",
)

# Makes a spectrum of codes for LFM2.5-Audio. For what codes are looked up in, and for the window of its way to sound, GGUF has
# no place.
SLIDING = "sliding_attention"
DETOKENIZER = replace(
    LFM2, classes=("Lfm25AudioTokenizer",), model_type="lfm2", headless=(), head=False, wordless=True,
    hparams=(
        *without(LFM2.hparams, "layer_types", "attention.head_count_kv"),
        Computed("attention.head_count_kv", lambda c: heads_by_block({**c, "layer_types": [
            KINDS[1] if kind == SLIDING else kind for kind in c["layer_types"]]}),
            "num_key_value_heads", lambda kv: max(listed(kv))),
        Seen("layer_types", lambda facts: [SLIDING if heads > 0 else KINDS[0] for heads in listed(facts.kv)]),
        H("attention.sliding_window", "sliding_window"), H("embedding_length_out", "output_size"),
    ),
    tensors=(
        *LFM2.tensors, R("dense_2.weight", "lin.weight", shape="embedding_length_out embedding_length", no_lora=NO_ADAPTERS),
        R("dense_2.bias", "lin.bias", shape="embedding_length_out")),
    aliases=(("lfm.", "model."),), ignore=(Template("emb.emb.weight"), Template("istft.window")),
    example="LiquidAI/LFM2.5-Audio-1.5B",
)

BACK = {"lfm2": choice(LFM2, (LFM2_EMBED, says("lfm2.attention.causal", False)), (DETOKENIZER, has("dense_2.bias")))}
LFM2_VL = Whole("Lfm2VlForConditionalGeneration", "lfm2_vl", LFM2, MULTIMODAL, dict.fromkeys((
    "vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")),
    example="LiquidAI/LFM2-VL-450M")
LFM2_AUDIO = Whole("Lfm2AudioForConditionalGeneration", "lfm2_audio", LFM2, (("lfm.", "model."),), dict.fromkeys((
    "conformer.", "audio_", "depthformer.", "depth_", "codebook_offsets")), example="LiquidAI/LFM2.5-Audio-1.5B")
SPECS = (LFM2, LFM2MOE, LFM2_EMBED, LFM2_VL, LFM2_AUDIO, DETOKENIZER)
