"""Gemma 4: blocks with sliding and with full attention differ in head length, keys, and rotary settings.

The last blocks may take the keys and values of earlier ones, full attention may use its keys as values, and a second,
smaller embedding may feed every block. Source: transformers `models/gemma4`, llama.cpp `src/models/gemma4.cpp` and
`conversion/gemma.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..rules.words import *
from . import gemma
from .common import *
from .gemma import FFN, GELU, LANGUAGE_MODEL, NO_BIAS, layer_types, pattern, periodic

# -- what differs from block to block -------------------------------------------------------------------------------


def sliding(config: Config) -> list[bool]:
    """For each block whether its attention slides; the class makes the last one full, whatever the config says."""
    return [*gemma.sliding(config)[:-1], False]


def of_full_layers(config: Config) -> Mapping[str, Any]:
    """What transformers 5 saves as exceptions of single blocks: the same for each that has full attention."""
    given = config["per_layer_config"]
    full = [str(b) for b, slides in enumerate(sliding(config)) if not slides]
    first = given.get(full[0], {}) if isinstance(given, Mapping) else None
    if (not isinstance(first, Mapping) or not first.keys() <= {"head_dim", "num_key_value_heads"}
            or given != {b: first for b in full if first}):
        raise UnsupportedError("per_layer_config has no GGUF form", file="config.json", found=given,
                               expected="the same head_dim and num_key_value_heads for all full_attention layers")
    return first


def full_head_length(config: Config) -> int:
    if config.get("per_layer_config") is None:
        return 512
    return of_full_layers(config).get("head_dim", config["head_dim"])


def full_kv_heads(config: Config) -> int | None:
    return of_full_layers(config).get("num_key_value_heads") if config.get("per_layer_config") else None


def kv_heads(config: Config) -> int | list[int]:
    """One number, or one per block where those with full attention have another."""
    usual, full = config["num_key_value_heads"], config.get("num_global_key_value_heads")
    told = config["attention_k_eq_v"] or config.get("per_layer_config") is not None  # transformers ignores it otherwise
    return [usual if slides else full for slides in sliding(config)] if told and full not in (None, usual) else usual


def feed_forward(config: Config) -> int | list[int]:
    """Blocks that take the keys and values of others may be twice as wide."""
    width, count = config["intermediate_size"], config["num_hidden_layers"]
    if not config.get("use_double_wide_mlp"):
        return width
    return [width if own else 2 * width for own in own_keys(count, config["num_kv_shared_layers"])]


def own_keys(count: int, shared: int) -> list[bool]:
    """For each block whether it has keys and values of its own."""
    return [b < count - shared for b in range(count)]


def per_block(kv: Mapping[str, Any], key: str) -> list[Any]:
    """A key that states one value for all blocks, or lists them."""
    if not isinstance(kv[key], list):
        return [kv[key]] * kv["block_count"]
    if len(kv[key]) < kv["block_count"]:
        raise ValueError(f"{key} lists {len(kv[key])} of {kv['block_count']} blocks")
    return kv[key][: kv["block_count"]]


def of_kind(kv: Mapping[str, Any], key: str, slides: bool) -> Any:
    """The value of the first block that slides, or that does not; of the first block where there is none."""
    values = per_block(kv, key)
    return next((v for v, s in zip(values, pattern(6, kv), strict=False) if s == slides), values[0])


def double_wide(found: GgufFacts) -> bool:
    widths = per_block(found.kv, "feed_forward_length")
    own = own_keys(len(widths), found.kv.get("attention.shared_kv_layers", 0))
    doubled = len({*widths}) > 1
    if doubled and widths != [widths[0] if o else 2 * widths[0] for o in own]:
        raise UnsupportedError("gemma4.feed_forward_length has no form in config.json", found=widths,
                               expected="one width, or twice as much in the blocks that share keys")
    return doubled


def keys_as_values(found: GgufFacts) -> bool:
    """Whether a block has keys but no values."""
    return any(name.replace(".attn_k.", ".attn_v.") not in found.tensors
               for name in found.tensors if name.endswith(".attn_k.weight"))


def with_experts(key: str) -> Callable[[Config], Any]:
    """The setting, where blocks have experts: configs keep it beside `enable_moe_block: false`."""
    return lambda config: config.get(key) if config.get("enable_moe_block") else None


GEMMA4_HPARAMS = (
    BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, RMS_EPS, Rope(default_sliding_theta=10000.0),
    H("rope.dimension_count", "global_head_dim"),
    H("rope.dimension_count_swa", "head_dim"),
    H("attention.key_length", "global_head_dim"),
    H("attention.value_length", "global_head_dim"),
    H("attention.key_length_swa", "head_dim"),
    H("attention.value_length_swa", "head_dim"),
    Computed("attention.head_count_kv", kv_heads, "num_key_value_heads",
             lambda kv: of_kind(kv, "attention.head_count_kv", True)),
    Seen("num_global_key_value_heads", lambda found: of_kind(found.kv, "attention.head_count_kv", False)
          if isinstance(found.kv["attention.head_count_kv"], list) else None),
    H("attention.shared_kv_layers", "num_kv_shared_layers", default=0),
    Seen("attention_k_eq_v", keys_as_values),
    H("attention.sliding_window", "sliding_window"),
    Computed("attention.sliding_window_pattern", sliding, "layer_types", lambda kv: layer_types(pattern(6, kv)), BOOL),
    Computed("feed_forward_length", feed_forward, "intermediate_size", lambda kv: per_block(kv, "feed_forward_length")[0]),
    Seen("use_double_wide_mlp", double_wide),
    H("embedding_length_per_layer_input", "hidden_size_per_layer_input"),
    Seen("vocab_size_per_layer_input", size("per_layer_token_embd.weight")),
    # Without the key, the runtime caps at 30.
    Computed("final_logit_softcapping", lambda config: config.get("final_logit_softcapping") or 0.0,
             "final_logit_softcapping", lambda kv: short(kv.get("final_logit_softcapping", 30.0)) or None, F32),
    Seen("enable_moe_block", has("blk.0.ffn_gate_inp.weight")),
    Computed("expert_count", with_experts("num_experts"), "num_experts", lambda kv: kv.get("expert_count")),
    Computed("expert_used_count", with_experts("top_k_experts"), "top_k_experts", lambda kv: kv.get("expert_used_count")),
    Computed("expert_feed_forward_length", with_experts("moe_intermediate_size"), "moe_intermediate_size",
             lambda kv: kv.get("expert_feed_forward_length")),
    Fixed("use_bidirectional_attention", None, also=("vision",), refuse=True), NO_BIAS, GELU, TIED, VOCAB_ROWS,
)

# -- tensors --------------------------------------------------------------------------------------------------------


def own_key(hp: Hparams, b: int) -> bool:
    return own_keys(hp["block_count"], hp.get("attention.shared_kv_layers", 0))[b]


def own_value(hp: Hparams, b: int) -> bool:
    """Full attention may use its keys as values."""
    return own_key(hp, b) and hp["sliding"][b]


def experts(hp: Hparams, b: int) -> bool:
    return hp.get("expert_count", 0) > 0


def per_layer_input(hp: Hparams, b: int | None) -> bool:
    return hp.get("embedding_length_per_layer_input", 0) > 0


BLOCK_SIZES = {
    "sliding": lambda hp: pattern(6, hp),
    "head_length": lambda hp: [hp["attention.key_length_swa"] if slides else hp["attention.key_length"]
                               for slides in hp["sliding"]],
    "head_rows": lambda hp: [hp["attention.head_count"] * length for length in hp["head_length"]],
    "head_kv_rows": lambda hp: [heads * length for heads, length in zip(
        per_block(hp, "attention.head_count_kv"), hp["head_length"], strict=True)],
}
GEMMA4_TENSORS = (
    *EMBED,
    R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="head_length"),
    *where(
        own_key,
        R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="head_length"),
    ),
    R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length", when=own_value),
    R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
    R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", L + "pre_feedforward_layernorm.weight", shape="embedding_length"),
    *FFN,
    R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.layer_output_scale.weight", L + "layer_scalar", shape="1", need=False),
    *where(
        experts,
        R("blk.{b}.ffn_gate_inp.weight", L + "router.proj.weight", shape="expert_count embedding_length",
          type="F32"),
        R("blk.{b}.ffn_gate_inp.scale", L + "router.scale", shape="embedding_length"),
        R("blk.{b}.ffn_gate_up_exps.weight", L + "experts.gate_up_proj",
          shape="expert_count 2*expert_feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", L + "experts.down_proj",
          shape="expert_count embedding_length expert_feed_forward_length",
          no_lora="the runtime would add an update behind the experts' scale, not before it"),
        R("blk.{b}.ffn_down_exps.scale", L + "router.per_expert_scale", shape="expert_count"),
        R("blk.{b}.post_ffw_norm_1.weight", L + "post_feedforward_layernorm_1.weight", shape="embedding_length"),
        R("blk.{b}.pre_ffw_norm_2.weight", L + "pre_feedforward_layernorm_2.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm_2.weight", L + "post_feedforward_layernorm_2.weight", shape="embedding_length"),
    ),
    # the other layout that the runtime takes
    R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), L + "experts.gate_up_proj", Split((1, 1)),
      shape="expert_count 2*expert_feed_forward_length embedding_length"),
    *where(
        per_layer_input,
        R("per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight",
          shape="vocab_size block_count*embedding_length_per_layer_input",
          no_lora=NO_GATHER),
        R("per_layer_model_proj.weight", "model.per_layer_model_projection.weight",
          shape="block_count*embedding_length_per_layer_input embedding_length", no_lora=NO_ADAPTERS),
        R("per_layer_proj_norm.weight", "model.per_layer_projection_norm.weight",
          shape="embedding_length_per_layer_input"),
        R("blk.{b}.inp_gate.weight", L + "per_layer_input_gate.weight",
          shape="embedding_length_per_layer_input embedding_length"),
        R("blk.{b}.proj.weight", L + "per_layer_projection.weight",
          shape="embedding_length embedding_length_per_layer_input"),
        R("blk.{b}.post_norm.weight", L + "post_per_layer_input_norm.weight", shape="embedding_length"),
    ),
    *OUT_NORM, *HEAD,
)

DEFAULTS = {
    "vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6, "sliding_window": 512, "tie_word_embeddings": True,
    "layer_types": lambda config: layer_types(periodic(6, config["num_hidden_layers"])),
    "hidden_size_per_layer_input": 256, "attention_k_eq_v": False, "num_kv_shared_layers": 0,
    "global_head_dim": full_head_length, "num_global_key_value_heads": full_kv_heads,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
    },
}

GEMMA4 = ArchSpec(
    "gemma4", ("Gemma4ForCausalLM",), "gemma4_text",
    hparams=GEMMA4_HPARAMS, tensors=GEMMA4_TENSORS, derived=(PROPORTIONAL_FREQS,), defaults=DEFAULTS, sizes=BLOCK_SIZES,
    example="google/gemma-4-E2B-it",
)

GEMMA4_MULTIMODAL = Whole(
    "Gemma4ForConditionalGeneration", "gemma4", text=GEMMA4, aliases=LANGUAGE_MODEL, parts=dict.fromkeys(
        ("model.vision_tower.", "model.embed_vision.", "model.audio_tower.", "model.embed_audio.")),
    example="google/gemma-4-E2B-it",
)

SPECS = (GEMMA4, GEMMA4_MULTIMODAL)
