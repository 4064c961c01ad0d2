"""Granite with sliding attention and sinks: some blocks attend to a window, some turn nothing.

Source: transformers `models/granite_swa`, `granitemoe_swa`; llama.cpp `src/models/granite-swa.cpp`, `conversion/granite.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern, sliding
from .granite import GRANITE, SHARED_LENGTH, M, S
from .llama import LLAMA


def turned(config: Config) -> list[bool] | None:
    """For each block whether its queries and keys turn, where not all do. One base serves those that do."""
    bases, base = config.get("layer_rope_theta"), config["rope_parameters"]["rope_theta"]
    if bases is None:
        return [bool(flag) for flag in config["no_rope_layers"]] if config.get("no_rope_layers") else None
    if other := {*bases} - {0, base}:
        raise ValueError(f"the runtime has one rotary base, {base}, not {sorted(other)}")
    return None if all(bases) else [bool(theta) for theta in bases]


def bases(facts: GgufFacts) -> list[float] | None:
    flags, base = facts.kv.get("attention.rope_pattern"), short(facts.kv.get("rope.freq_base", 10000.0))
    return [base if flag else 0 for flag in flags] if flags else None


WINDOW = (
    H("attention.sliding_window", "sliding_window"),
    Computed("attention.sliding_window_pattern", sliding, "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
    Computed("attention.rope_pattern", turned, type=BOOL), Seen("layer_rope_theta", bases),
)


def experts(router: str, gate_up: str, down: str) -> tuple[TensorRule, ...]:
    """The rows of the experts under these names; gate and up stay one weight."""
    return (
        R("blk.{b}.ffn_gate_inp.weight", M + router, shape="expert_count embedding_length", type="F32"),
        R("blk.{b}.ffn_gate_up_exps.weight", M + gate_up, shape="expert_count 2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", M + down, shape="expert_count embedding_length feed_forward_length"),
    )


SINKS = (R("blk.{b}.attn_sinks.weight", L + "self_attn.sinks", shape="attention.head_count"),)
DEFAULTS = {"num_key_value_heads": 4, "rms_norm_eps": 1e-5, "sliding_window": 128, "tie_word_embeddings": True,
            "layer_types": lambda c: layer_types([b % 4 != 0 for b in range(c["num_hidden_layers"])])}

GRANITE_SWA = ArchSpec(
    "granite_swa", ("GraniteSWAForCausalLM",), "granite_swa", hparams=(*GRANITE.hparams, *WINDOW),
    tensors=(*LLAMA.tensors, *SINKS), derived=LLAMA.derived, defaults=DEFAULTS, sizes=SIZES,
    example="ibm-granite/granite-swash-2b",
)
GRANITEMOE_SWA = ArchSpec(
    "granite_swa", ("GraniteMoeSWAForCausalLM",), "granitemoe_swa",
    hparams=(*GRANITE.hparams, *WINDOW, *LOCAL_EXPERTS, H(SHARED_LENGTH, "shared_intermediate_size", need=False,
                                                          codec=Codec(lambda n: n or None, int))),
    tensors=(
        *EMBED, *NORMS, *ATTN_ROPE, *SINKS,
        *in_memory(*experts("router.weight", "experts.gate_up_proj", "experts.down_proj")),
        *experts("router.layer.weight", "input_linear.weight", "output_linear.weight"),  # as older Granites spell them
        R("blk.{b}.ffn_up_shexp.weight", S + "input_linear.weight", need=False, shape=f"2*{SHARED_LENGTH} embedding_length"),
        R("blk.{b}.ffn_down_shexp.weight", S + "output_linear.weight", need=False, shape=f"embedding_length {SHARED_LENGTH}"),
        *OUT_NORM, *HEAD,
    ),
    derived=LLAMA.derived, sizes=SIZES, example="ibm-granite/granite-swash-moe",
    defaults={**DEFAULTS, "num_key_value_heads": same_as("num_attention_heads"), "rms_norm_eps": 1e-6,
              "tie_word_embeddings": False, "num_local_experts": 8, "num_experts_per_tok": 2},
)

BACK = {"granite_swa": choice(GRANITE_SWA, (GRANITEMOE_SWA, has("blk.0.ffn_gate_inp.weight")))}
SPECS = (GRANITE_SWA, GRANITEMOE_SWA)
