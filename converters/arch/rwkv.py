"""RWKV 6 (Finch) and 7 (Goose): recurrent, without attention and without a limit to the context.

Source: the code on the Hub (`RWKV/v6-Finch-1B6-HF`) and of flash-linear-attention (`fla-hub/rwkv7-1.5B-world`); llama.cpp
`src/models/rwkv6-base.cpp`, `rwkv7-base.cpp`, `conversion/rwkv.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..rules.words import *
from .common import *

CONTEXT = Const("context_length", 2**20)
NO_HEADS = Const("attention.head_count", 0)
WIDTH = "embedding_length"
LERP = f"1 1 {WIDTH}"
VECTOR = Reshape((1, 1, WIDTH), (WIDTH,))


def stack(letters: str) -> tuple[Any, ...]:
    """Vectors `[1, 1, width]`, one for each letter, into one tensor."""
    count = len(letters)
    return Split(count, undo=True), Reshape((1, count, WIDTH), (count, 1, 1, WIDTH))


# -- RWKV 6 ---------------------------------------------------------------------------------------------------------

B = "rwkv.blocks.{b}."
A, F = B + "attention.", B + "feed_forward."
LERP6 = "wkvrg"


def lerp6(prefix: str) -> tuple[TensorRule, ...]:
    """RWKV 6's mixtures with the token before, which its form in Qwen 2 has as well; `decay6`: its decays."""
    return (
        R("blk.{b}.time_mix_lerp_x.weight", prefix + "time_maa_x", VECTOR),
        R("blk.{b}.time_mix_lerp_fused.weight", tuple(prefix + f"time_maa_{letter}" for letter in LERP6), *stack(LERP6),
          shape=LERP, type="F32"),
    )


def decay6(prefix: str) -> tuple[TensorRule, ...]:
    return (
        R("blk.{b}.time_mix_decay.weight", prefix + "time_decay", VECTOR),
        R("blk.{b}.time_mix_decay_w1.weight", prefix + "time_decay_w1", Transpose(),
          shape="embedding_length time_decay_extra_dim", type="F32", no_lora=NO_ADAPTERS),
        R("blk.{b}.time_mix_decay_w2.weight", prefix + "time_decay_w2", Transpose(),
          shape="time_decay_extra_dim embedding_length", type="F32", no_lora=NO_ADAPTERS),
    )


def halvings(hp: Hparams) -> list[float]:
    """What each block's outputs are divided by: the runtime halves what runs through every so many blocks."""
    every = hp["rescale_every_n_layers"]
    return [2.0 ** (b // every) if every else 1.0 for b in range(hp["block_count"])]


HALVED = Scale("halvings", divide=True)
RWKV6 = ArchSpec(
    "rwkv6", ("Rwkv6ForCausalLM",), "rwkv6",
    hparams=(
        BLOCK_COUNT, CONTEXT, EMBEDDING_LENGTH, FFN_LENGTH, LN_EPSILON, NO_HEADS, VOCAB_ROWS,
        H("rescale_every_n_layers", "rescale_every"), H("wkv.head_size", "head_size"),
        Computed("time_mix_extra_dim", lambda c: 64 if c["hidden_size"] == 4096 else 32),
        Computed("time_decay_extra_dim", lambda c: 128 if c["hidden_size"] == 4096 else 64),
        Fixed("head_size_divisor", 8, refuse=True), Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "rwkv.embeddings.weight", shape="vocab_size embedding_length"),
        *with_bias(
            R("token_embd_norm.{p}", "rwkv.blocks.0.pre_ln.{p}", shape=WIDTH),
            R("blk.{b}.attn_norm.{p}", B + "ln1.{p}", shape=WIDTH),
            R("blk.{b}.attn_norm_2.{p}", B + "ln2.{p}", shape=WIDTH),
            R("blk.{b}.time_mix_ln.{p}", A + "ln_x.{p}", shape=WIDTH),
            R("output_norm.{p}", "rwkv.ln_out.{p}", shape=WIDTH)),
        *lerp6(A),
        R("blk.{b}.time_mix_w1.weight", A + "time_maa_w1", Transpose(), shape="embedding_length 5*time_mix_extra_dim",
          type="F32", no_lora=NO_ADAPTERS),
        R("blk.{b}.time_mix_w2.weight", A + "time_maa_w2", Transpose(), shape="5 time_mix_extra_dim embedding_length",
          type="F32", no_lora=NO_ADAPTERS),
        R("blk.{b}.time_mix_first.weight", A + "time_faaaa", shape="heads wkv.head_size", type="F32", no_lora=NO_ADAPTERS),
        *decay6(A),
        R("blk.{b}.time_mix_key.weight", A + "key.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_value.weight", A + "value.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_receptance.weight", A + "receptance.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_gate.weight", A + "gate.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_output.weight", A + "output.weight", HALVED, shape="embedding_length embedding_length"),
        R("blk.{b}.channel_mix_lerp_k.weight", F + "time_maa_k", VECTOR),
        R("blk.{b}.channel_mix_lerp_r.weight", F + "time_maa_r", VECTOR),
        R("blk.{b}.channel_mix_key.weight", F + "key.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.channel_mix_value.weight", F + "value.weight", HALVED, shape="embedding_length feed_forward_length"),
        R("blk.{b}.channel_mix_receptance.weight", F + "receptance.weight", shape="embedding_length embedding_length"),
        R("output.weight", "head.weight", shape="vocab_size embedding_length"),
    ),
    defaults={"intermediate_size": lambda c: int(c["hidden_size"] * 3.5 // 32 * 32), "layer_norm_epsilon": 1e-5},
    sizes={"halvings": halvings, "heads": lambda hp: hp["embedding_length"] // hp["wkv.head_size"]},
    example="RWKV/v6-Finch-1B6-HF",
)

# -- RWKV 7 ---------------------------------------------------------------------------------------------------------

LERP7 = "rwkvag"
M = L + "attn."


def rank(exponent: float, factor: float) -> Callable[[Config], int]:
    """The rank that the class gives a low-rank projection where config.json has none."""
    return lambda config: max(1, round(config["hidden_size"] ** exponent * factor / 32)) * 32


def low_rank(gguf: str, hf: str, size: str, bias: bool = True) -> tuple[TensorRule, ...]:
    """A low-rank projection: down to `size`, up again, and what is added to it."""
    names = f"blk.{{b}}.time_mix_{gguf}", M + f"{hf}_lora.lora."
    kind = "F32" if gguf == "w" else None
    rows = (R(f"{names[0]}1.weight", names[1] + "0.weight", shape=f"{size} embedding_length", type=kind, no_lora=NO_ADAPTERS),
            R(f"{names[0]}2.weight", names[1] + "2.weight", shape=f"embedding_length {size}", type=kind, no_lora=NO_ADAPTERS),
            R(f"{names[0]}0.weight", names[1] + "2.bias", shape=WIDTH))
    return rows if bias else rows[:2]


def first(row: TensorRule) -> TensorRule:
    """The row of block 0, where the runtime also wants a copy for the values' projection, which it does not use."""
    gguf, hf = row.gguf[0].text.replace("{b}", "0"), row.hf[0].text.replace("{b}", "0")
    return R((gguf, gguf.replace("time_mix_a", "time_mix_v")), hf, Same(2), shape=row.shape, no_lora=row.no_lora)


def behind(hp: Hparams, b: int) -> bool:
    return b > 0


RATES = low_rank("a", "a", "attention.iclr_lora_rank")
UNUSED = tuple(Template(f"model.layers.0.attn.v_lora.lora.{end}") for end in ("0.weight", "2.weight", "2.bias"))
RWKV7 = ArchSpec(
    "rwkv7", ("RWKV7ForCausalLM", "Rwkv7ForCausalLM"), "rwkv7",
    hparams=(
        BLOCK_COUNT, CONTEXT, EMBEDDING_LENGTH, FFN_LENGTH, H("attention.layer_norm_epsilon", "norm_eps", F32), NO_HEADS,
        VOCAB_ROWS, H("wkv.head_size", "head_dim"), H("attention.decay_lora_rank", "decay_low_rank_dim"),
        H("attention.iclr_lora_rank", "a_low_rank_dim"), H("attention.value_residual_mix_lora_rank", "v_low_rank_dim"),
        H("attention.gate_lora_rank", "gate_low_rank_dim"), Fixed("hidden_act", "sqrelu", refuse=True),
        Fixed("tie_word_embeddings", False, refuse=True), Fixed("norm_bias", True, refuse=True),
        Fixed("attn", None, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "model.embeddings.weight", shape="vocab_size embedding_length"),
        *with_bias(
            R("token_embd_norm.{p}", "model.layers.0.pre_norm.{p}", shape=WIDTH),
            R("blk.{b}.attn_norm.{p}", L + "attn_norm.{p}", shape=WIDTH),
            R("blk.{b}.attn_norm_2.{p}", L + "ffn_norm.{p}", shape=WIDTH),
            R("blk.{b}.time_mix_ln.{p}", M + "g_norm.{p}", shape=WIDTH),
            R("output_norm.{p}", "model.norm.{p}", shape=WIDTH)),
        R("blk.{b}.time_mix_lerp_fused.weight", tuple(M + f"x_{letter}" for letter in LERP7), *stack(LERP7), shape=LERP,
          type="F32"),
        *low_rank("w", "w", "attention.decay_lora_rank"),
        *map(first, RATES), *where(behind, *RATES, *low_rank("v", "v", "attention.value_residual_mix_lora_rank")),
        *low_rank("g", "g", "attention.gate_lora_rank", bias=False),
        R("blk.{b}.time_mix_k_k.weight", M + "k_k", shape=WIDTH),
        R("blk.{b}.time_mix_k_a.weight", M + "k_a", shape=WIDTH),
        R("blk.{b}.time_mix_r_k.weight", M + "r_k", Reshape(("heads", "wkv.head_size"), ("heads*wkv.head_size",))),
        R("blk.{b}.time_mix_receptance.weight", M + "r_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_key.weight", M + "k_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_value.weight", M + "v_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_output.weight", M + "o_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.channel_mix_lerp_k.weight", L + "ffn.x_k", shape=WIDTH),
        R("blk.{b}.channel_mix_key.weight", L + "ffn.key.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.channel_mix_value.weight", L + "ffn.value.weight", shape="embedding_length feed_forward_length"),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    defaults={
        "intermediate_size": lambda c: 4 * c["hidden_size"], "norm_eps": 1e-5, "head_dim": 64,
        "decay_low_rank_dim": rank(0.5, 1.8), "a_low_rank_dim": rank(0.5, 1.8), "v_low_rank_dim": rank(0.5, 1.3),
        "gate_low_rank_dim": rank(0.8, 0.6)},
    sizes={"heads": lambda hp: hp["embedding_length"] // hp["wkv.head_size"]}, ignore=UNUSED,
    example="fla-hub/rwkv7-1.5B-world",
)

# -- RWKV 7's time mixing in Qwen2's blocks --------------------------------------------------------------------------

Q = L + "self_attn.time_mixer."


def loose(gguf: str, hf: str, size: str, add: bool = True) -> tuple[TensorRule, ...]:
    """A low-rank projection as bare parameters, `[in, out]`."""
    name, kind = f"blk.{{b}}.time_mix_{gguf}", "F32" if gguf == "w" else None
    rows = (R(f"{name}1.weight", Q + f"{hf}1", Transpose(), shape=f"embedding_length {size}", type=kind, no_lora=NO_ADAPTERS),
            R(f"{name}2.weight", Q + f"{hf}2", Transpose(), shape=f"{size} embedding_length", type=kind, no_lora=NO_ADAPTERS),
            R(f"{name}0.weight", Q + f"{hf}0", VECTOR))
    return rows if add else rows[:2]


def copied(row: TensorRule) -> TensorRule:
    gguf, hf = row.gguf[0].text.replace("{b}", "0"), row.hf[0].text.replace("{b}", "0")
    return R((gguf, gguf.replace("time_mix_a", "time_mix_v")), hf, *row.ops, Same(2), shape=row.shape, no_lora=row.no_lora)


LOOSE_RATES = loose("a", "a", "attention.iclr_lora_rank")


def arwkv7(gated: bool) -> ArchSpec:
    letters = LERP7 if gated else LERP7[:-1]
    return ArchSpec(
        "arwkv7", ("RwkvHybridForCausalLM",), "rwkv_hybrid", fits=lambda c: bool(c.get("wkv_has_gate", True)) is gated,
        hparams=(
            BLOCK_COUNT, CONTEXT, EMBEDDING_LENGTH, FFN_LENGTH, RMS_EPS, NO_HEADS, VOCAB_ROWS, H("wkv.head_size", "head_size"),
            Const("attention.decay_lora_rank", 64), Const("attention.iclr_lora_rank", 64),
            Const("attention.value_residual_mix_lora_rank", 32), Const("attention.gate_lora_rank", 128 * gated),
            Const("token_shift_count", 1), Fixed("wkv_has_gate", gated), Fixed("wkv_version", 7, refuse=True), SILU, TIED,
            Seen("wkv_has_group_norm", has("blk.0.time_mix_ln.weight")),
        ),
        tensors=(
            *EMBED, *NORMS,
            R("blk.{b}.time_mix_lerp_fused.weight", tuple(Q + f"x_{letter}" for letter in letters), *stack(letters),
              shape=LERP, type="F32"),
            *loose("w", "w", "attention.decay_lora_rank"),
            *map(copied, LOOSE_RATES),
            *where(behind, *LOOSE_RATES, *loose("v", "v", "attention.value_residual_mix_lora_rank")),
            *(loose("g", "g", "attention.gate_lora_rank", add=False) if gated else ()),
            R("blk.{b}.time_mix_k_k.weight", Q + "k_k", VECTOR), R("blk.{b}.time_mix_k_a.weight", Q + "k_a", VECTOR),
            R("blk.{b}.time_mix_r_k.weight", Q + "r_k", Reshape(("heads", "wkv.head_size"), ("heads*wkv.head_size",))),
            R("blk.{b}.time_mix_receptance.weight", Q + "receptance.weight", shape="embedding_length embedding_length"),
            R("blk.{b}.time_mix_key.weight", Q + "key.weight", shape="embedding_length embedding_length"),
            R("blk.{b}.time_mix_value.weight", Q + "value.weight", shape="embedding_length embedding_length"),
            R("blk.{b}.time_mix_output.weight", Q + "output.weight", shape="embedding_length embedding_length"),
            R("blk.{b}.time_mix_ln.{p}", Q + "ln_x.{p}", need=False, shape=WIDTH),
            *FFN, *OUT_NORM, *HEAD,
        ),
        sizes=RWKV7.sizes, example="RWKV-Red-Team/ARWKV-7B-Preview-0.1",
    )


# -- RWKV 6's time mixing in Qwen2's blocks --------------------------------------------------------------------------

S = L + "self_attn."
PLACES = Arrange((3, 1, 2, 0, 4))  # r, k, v, w, g -> w, k, v, r, g
FLAT = ("5*embedding_length", "time_mix_extra_dim")
DEEP = (5, "embedding_length", "time_mix_extra_dim")
RWKV6_QWEN2 = ArchSpec(
    "rwkv6qwen2", ("RWKV6Qwen2ForCausalLM",), "rwkv6qwen2",
    hparams=(
        BLOCK_COUNT, CONTEXT, EMBEDDING_LENGTH, FFN_LENGTH, RMS_EPS, NO_HEADS, HEAD_KV, VOCAB_ROWS, TIED, SILU,
        Computed("wkv.head_size", per_head, "num_attention_heads", lambda kv: kv["embedding_length"] // kv["wkv.head_size"]),
        H("time_mix_extra_dim", "lora_rank_tokenshift"), H("time_decay_extra_dim", "lora_rank_decay"),
        Const("token_shift_count", 1),
    ),
    tensors=(
        *EMBED, *NORMS,
        *lerp6(S),
        R("blk.{b}.time_mix_w1.weight", S + "time_maa_w1", Transpose(), Split(5), PLACES, Split(5, undo=True),
          shape="embedding_length 5*time_mix_extra_dim", type="F32", no_lora=NO_ADAPTERS),
        R("blk.{b}.time_mix_w2.weight", S + "time_maa_w2", Transpose(), Reshape(DEEP, FLAT), Split(5), PLACES,
          Split(5, undo=True), Reshape(FLAT, DEEP), shape="5 time_mix_extra_dim embedding_length", type="F32",
          no_lora=NO_ADAPTERS),
        *decay6(S),
        R("blk.{b}.time_mix_receptance.{p}", S + "q_proj.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_key.{p}", S + "k_proj.{p}", shape="kv_rows embedding_length"),
        R("blk.{b}.time_mix_value.{p}", S + "v_proj.{p}", shape="kv_rows embedding_length"),
        R("blk.{b}.time_mix_gate.weight", S + "gate.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.time_mix_output.weight", S + "o_proj.weight", shape="embedding_length embedding_length"),
        *FFN, *OUT_NORM, *HEAD,
    ),
    defaults={"lora_rank_tokenshift": lambda c: 64 if c["hidden_size"] >= 4096 else 32,
              "lora_rank_decay": lambda c: 128 if c["hidden_size"] >= 4096 else 64},
    sizes={"kv_rows": lambda hp: hp["attention.head_count_kv"] * hp["wkv.head_size"]},
    example="recursal/QRWKV6-32B-Instruct-Preview-v0.1",
)

ARWKV7, ARWKV7_PLAIN = arwkv7(True), arwkv7(False)
BACK = {"arwkv7": choice(ARWKV7, (ARWKV7_PLAIN, lacks("blk.0.time_mix_g1.weight")))}
SPECS = (RWKV6, RWKV7, RWKV6_QWEN2, ARWKV7, ARWKV7_PLAIN)
