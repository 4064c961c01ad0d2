"""Granite Switch: a dense Granite that holds adapters beside its weights, of which a token chooses one for those after it.

In GGUF the adapters of a weight stand in one stack, behind one of zeros for tokens that choose none.
Source: IBM's `granite_switch` (config, `hf`); llama.cpp `src/models/granite-switch.cpp`, `conversion/granite.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules.words import *
from .common import *
from .granite import SCALES, S
from .llama import LLAMA, ROPE_DIM

A = L + "self_attn."
QKV = ("head_rows", "head_kv_rows", "head_kv_rows")
RANK = "adapters.lora_rank"


def adapters(gguf: str, hf: str, slot: str, out: str, inner: str, *ops: Op) -> tuple[TensorRule, ...]:
    """Both factors of the adapters of one weight; `ops` of the rows of the second."""
    return tuple(
        R(f"blk.{{b}}.{gguf}.lora_{factor.lower()}", f"{hf}.lora_{factor}{slot}",
          Reshape(("adapters.count", 1, *size), ("adapters.count", *size)), *more,
          Pad("slots", "adapters.count", front=True), shape=f"adapters.count 1 {size[0]} {size[1]}")
        for factor, size, more in (("A", (RANK, inner), ()), ("B", (out, RANK), ops)))


def heads(config: Config) -> int | None:
    """The head length, where the width does not tell it."""
    length = config.get("projection_head_dim")
    return None if length == per_head(config) else length


def one_more(kv: Mapping[str, Any]) -> int:
    """Blocks, and what chooses the adapter, which HF counts as one."""
    return kv["block_count"] + 1


GRANITE_SWITCH = ArchSpec(
    "graniteswitch", ("GraniteSwitchForCausalLM",), "granite_switch",
    hparams=(
        Computed("block_count", lambda c: c["num_hidden_layers"] - 1, "num_hidden_layers", one_more),
        *without(DECODER, "num_hidden_layers", "feed_forward_length"), VOCAB_SIZE, ROPE_DIM, *SCALES,
        H("feed_forward_length", "shared_intermediate_size"),
        H("expert_shared_feed_forward_length", "shared_intermediate_size"),
        Seen("intermediate_size", lambda facts: facts.kv["feed_forward_length"]),
        Const("expert_count", 0), Const("expert_used_count", 0), Fixed("num_local_experts", 0, refuse=True),
        H("adapters.count", "num_adapters"), H(RANK, "max_lora_rank"), H("adapters.token_ids_activate", "adapter_token_ids"),
        H("adapters.token_ids_substitute", "adapter_substitute_token_ids"),
        H("adapters.router_gain", "control_token_gain", F32, default=15.0),
        Fixed("switch_type", "single", refuse=True), Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_qkv.weight", A + "qkv_proj.base_layer.weight", Split(QKV), Each((ROPE, ROPE, Op())),
          Split(QKV, undo=True), shape="qkv_rows embedding_length", no_lora=NO_ADAPTERS),
        R("blk.{b}.attn_output.weight", A + "o_proj.base_layer.weight", shape="embedding_length head_rows",
          no_lora=NO_ADAPTERS),
        R(("blk.{b}.ffn_gate.weight", "blk.{b}.ffn_up.weight"), S + "input_linear.base_layer.weight", Split((1, 1)),
          shape="2*feed_forward_length embedding_length", no_lora=NO_ADAPTERS),
        R("blk.{b}.ffn_down.weight", S + "output_linear.base_layer.weight", shape="embedding_length feed_forward_length",
          no_lora=NO_ADAPTERS),
        *adapters("attn_q", A + "qkv_proj", "_slices.0", "head_rows", "embedding_length", ROPE),
        *adapters("attn_k", A + "qkv_proj", "_slices.1", "head_kv_rows", "embedding_length", ROPE),
        *adapters("attn_v", A + "qkv_proj", "_slices.2", "head_kv_rows", "embedding_length"),
        *adapters("attn_output", A + "o_proj", "", "embedding_length", "head_rows"),
        *adapters("ffn_gate", S + "input_linear", "_slices.0", "feed_forward_length", "embedding_length"),
        *adapters("ffn_up", S + "input_linear", "_slices.1", "feed_forward_length", "embedding_length"),
        *adapters("ffn_down", S + "output_linear", "", "embedding_length", "feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    derived=LLAMA.derived, defaults={"num_key_value_heads": same_as("num_attention_heads"), "head_dim": heads,
                                     "rms_norm_eps": 1e-6, "shared_intermediate_size": same_as("intermediate_size")},
    sizes={**SIZES, "slots": lambda hp: hp["adapters.count"] + 1,
           "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    ignore=tuple(map(Template, ("model.adapter_token_ids", "model.switch.adapter_token_ids",  # what config.json says
                                "model.switch.control_to_substitute_lut"))),
    example="ibm-granite/granite-switch-4.1-3b-preview",
)

SPECS = (GRANITE_SWITCH,)
