"""MiMo-V2: most blocks slide, with attention sinks and twice the keys and values; values are shorter than keys, scaled.

The published config names other settings than transformers', which knows Flash alone. V2.5 fuses queries, keys and values,
whose rows stand GPU by GPU: those of one of `num_key_value_heads` GPUs, then those of the next. Source: transformers
`models/mimo_v2_flash`; llama.cpp `src/models/mimo2.cpp`, `conversion/mimo.py`; SGLang `models/mimo_v2.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..rules.words import *
from .common import *
from .deepseek import GATING, ROUTER_BIAS
from .gemma import layer_types, sliding
from .qwen import FFN


def kinds(config: Config) -> list[str] | None:
    """Layer types; the published config marks the blocks that slide."""
    if (marks := config.get("hybrid_layer_pattern")) is not None:
        return layer_types([bool(mark) for mark in marks])
    return layer_types([b != 0 and (b + 1) % 6 != 0 for b in range(config["num_hidden_layers"])])


def feed_forwards(config: Config) -> list[str]:
    marks = config.get("moe_layer_freq") or [0] + [1] * (config["num_hidden_layers"] - 1)
    return ["sparse" if mark else "dense" for mark in marks]


def rope(config: Config) -> dict[str, Any] | None:
    """Both kinds of rotary settings from the published config."""
    if config.get("rope_theta") is None:
        theta, local, share = 5000000.0, 10000.0, 0.334
    else:
        theta, local = config["rope_theta"], config.get("swa_rope_theta", 10000.0)
        share = config.get("partial_rotary_factor", 0.334)
    return {kind: {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": share}
            for kind, base in (("full_attention", theta), ("sliding_attention", local))}


def sliding_heads(config: Config) -> int:
    return config.get("swa_num_key_value_heads") or 2 * config["num_key_value_heads"]


def kv_heads(config: Config) -> list[int]:
    return [sliding_heads(config) if s else config["num_key_value_heads"] for s in sliding(config)]


def window(config: Config) -> int:
    """Tokens that a block sees, itself among them."""
    return config["sliding_window_size"] + 1 if config.get("sliding_window_size") is not None else config["sliding_window"]


def full_heads(kv: Mapping[str, Any]) -> int:
    heads, slides = kv["attention.head_count_kv"], kv["attention.sliding_window_pattern"]
    return next((h for h, s in zip(heads, slides, strict=False) if not s), heads[0] // 2)


def share(kv: Mapping[str, Any]) -> float:
    """The part of the head that turns: the shortest decimal that gives its rows."""
    rows, length = kv["rope.dimension_count"], kv["attention.key_length"]
    guesses = (round((rows + more) / length, digits) for digits in range(1, 9) for more in (0, 0.5))
    return next(guess for guess in guesses if int(length * guess) == rows)


def slides(hp: Hparams, b: int) -> bool:
    return bool(hp["attention.sliding_window_pattern"][b])


# Layers of multi-token prediction: dense, and they slide.
P = "model.mtp.layers.{m}."


def predicted(config: Config, names: Collection[str]) -> int:
    """How many there are, which no setting says."""
    template = Template(P + "eh_proj.weight")
    return sum(template.match(name) is not None for name in names)


def with_predicted(of: Callable[[Config], list[Any]], one: Callable[[Config], Any]) -> Callable[[Config], list[Any]]:
    """A value per block, the predicted ones included."""
    return lambda config: [*of(config), *[one(config)] * config["num_nextn_predict_layers"]]


MTP = (
    R("blk.{m}.attn_norm.weight", P + "input_layernorm.weight", shape="embedding_length"),
    R("blk.{m}.ffn_norm.weight", P + "pre_mlp_layernorm.weight", shape="embedding_length"),
    R("blk.{m}.ffn_norm.weight", P + "post_attention_layernorm.weight", need=False, shape="embedding_length"),
    R("blk.{m}.attn_q.weight", P + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
    R("blk.{m}.attn_k.weight", P + "self_attn.k_proj.weight", shape="key_rows embedding_length"),
    R("blk.{m}.attn_v.weight", P + "self_attn.v_proj.weight", shape="value_rows embedding_length"),
    R("blk.{m}.attn_output.weight", P + "self_attn.o_proj.weight", shape="embedding_length output_columns"),
    R("blk.{m}.attn_sinks.weight", P + "self_attn.attention_sink_bias", need=False, shape="attention.head_count"),
    R("blk.{m}.ffn_gate.weight", P + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{m}.ffn_up.weight", P + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{m}.ffn_down.weight", P + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
    R("blk.{m}.nextn.eh_proj.weight", P + "eh_proj.weight", shape="embedding_length 2*embedding_length"),
    R("blk.{m}.nextn.enorm.weight", P + "enorm.weight", shape="embedding_length"),
    R("blk.{m}.nextn.hnorm.weight", P + "hnorm.weight", shape="embedding_length"),
    R("blk.{m}.layer_output_norm.weight", P + "final_layernorm.weight", need=False, shape="embedding_length"),
)

MIMO2 = ArchSpec(
    "mimo2", ("MiMoV2FlashForCausalLM",), "mimo_v2_flash",
    hparams=(
        Computed("block_count", lambda c: c["num_hidden_layers"] + c["num_nextn_predict_layers"], "num_hidden_layers",
                 main_blocks),
        Seen("num_nextn_predict_layers", lambda facts: None, names=predicted),
        Computed("nextn_predict_layers", lambda c: c["num_nextn_predict_layers"] or None),
        CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, Rope(default_sliding_theta=10000.0),
        Computed("attention.head_count_kv", with_predicted(kv_heads, sliding_heads), "num_key_value_heads", full_heads),
        H("attention.layer_norm_rms_epsilon", ("rms_norm_eps", "layernorm_epsilon"), F32),
        H("attention.key_length", "head_dim"), H("attention.value_length", "v_head_dim"),
        Computed("rope.dimension_count", lambda c: int(c["head_dim"] * full_attention_rope(c)["partial_rotary_factor"])),
        Seen("rope_parameters.full_attention.partial_rotary_factor", lambda facts: share(facts.kv)),
        Seen("rope_parameters.sliding_attention.partial_rotary_factor", lambda facts: share(facts.kv)),
        Computed("attention.sliding_window", window, "sliding_window", lambda kv: kv["attention.sliding_window"]),
        Computed("attention.sliding_window_pattern", with_predicted(lambda c: [int(s) for s in sliding(c)], lambda c: 1),
                 "layer_types",
                 lambda kv: layer_types([bool(s) for s in kv["attention.sliding_window_pattern"]][:main_blocks(kv)])),
        H("attention.value_scale", "attention_value_scale", F32, default=1.0),
        H("expert_count", "n_routed_experts"), EXPERTS[1], EXPERT_LENGTH,
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        Seen("mlp_layer_types", lambda facts: [
            "sparse" if f"blk.{b}.ffn_gate_inp.weight" in facts.tensors else "dense" for b in range(main_blocks(facts.kv))]),
        Fixed("norm_topk_prob", True, refuse=True), Fixed("routed_scaling_factor", 1.0, refuse=True),
        Fixed("attention_bias", False, refuse=True), TIED, SILU, VOCAB_ROWS,
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="key_rows embedding_length"),
        R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="value_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length output_columns"),
        R("blk.{b}.attn_sinks.weight", L + "self_attn.attention_sink_bias", shape="attention.head_count", when=slides),
        R("blk.{b}.attn_sinks.weight", L + "self_attn.sinks", shape="attention.head_count", when=slides),
        *(replace(row, need=False) for row in (*FFN, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *ROUTER_BIAS)),
        *MTP, *OUT_NORM, R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    stacks={"b": Stack("main_blocks"), "m": Stack("nextn_predict_layers", after="b")}, idle=predicting,
    sizes={
        **SIZES, "main_blocks": main_blocks,
        "key_rows": lambda hp: [n * hp["attention.key_length"] for n in hp["attention.head_count_kv"]],
        "value_rows": lambda hp: [n * hp["attention.value_length"] for n in hp["attention.head_count_kv"]],
        "output_columns": lambda hp: hp["attention.head_count"] * hp["attention.value_length"],
    },
    defaults={
        "num_nextn_predict_layers": 0, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128,
        "max_position_embeddings": 131072,
        "sliding_window": 129,
        "routed_scaling_factor": 1.0, "layer_types": kinds, "mlp_layer_types": feed_forwards, "rope_parameters": rope},
    example="XiaomiMiMo/MiMo-V2-Flash",
)

# -- V2.5 and V2.5-Pro: the published settings, fused attention ---------------------------------------------------------

LAYOUT, FUSED, SPLIT = "attention_projection_layout", "fused_qkv", "split"
QKV = "self_attn.qkv_proj.weight"


def layout(config: Config, names: Collection[str]) -> str:
    """How queries, keys and values are stored; InputError where they are fused and nothing says in which order."""
    said = config.get(LAYOUT)
    if said != FUSED and any(name.endswith(QKV) for name in names):
        raise InputError(f"{LAYOUT} does not say in which order the rows of {QKV} stand", file="config.json", expected=FUSED,
                         found=said, hint=f'"{FUSED}" says: those of a GPU together, for num_key_value_heads GPUs. Where they '
                         "stand otherwise, store q_proj, k_proj and v_proj apart.")
    return said or SPLIT


def of_a_gpu(rows: str) -> Callable[[Hparams], list[int]]:
    """A GPU's share of these rows, by block."""
    def shares(hp: Hparams) -> list[int]:
        counts = hp["attention.head_count_kv"]
        return [n // full_heads(hp) for n in (hp[rows] if isinstance(hp[rows], list) else [hp[rows]] * len(counts))]
    return shares


def fused(row: TensorRule) -> tuple[TensorRule, ...]:
    """A row of Flash as rows of V2.5: that of the queries with one of all three before it, each of the others as it is; those
    that are apart only where the fused one is not."""
    name, hf = str(row.gguf[0]), str(row.hf[0])
    part = next((p for p in ("attn_q.", "attn_k.", "attn_v.") if p in name), None)
    if part is None:
        return (row,)
    together = name.replace(part, "attn_qkv.")
    apart = replace(row, given=lacks(together))
    return (apart,) if part != "attn_q." else (R(
        together, hf.replace("q_proj", "qkv_proj"), Split(("gpu_queries", "gpu_keys", "gpu_values"), groups="gpus", join=True),
        shape="qkv_rows embedding_length", given=lacks(name)), apart)


def sinks_said(hp: Hparams, b: int) -> bool:
    return bool(hp["sliding_sinks"]) and slides(hp, b)


def sinks(facts: GgufFacts, sliding: bool) -> bool:
    """Whether blocks of this kind have sinks."""
    pattern = facts.kv["attention.sliding_window_pattern"]
    return any(f"blk.{b}.attn_sinks.weight" in facts.tensors for b, slides in enumerate(pattern) if bool(slides) == sliding)


def local_heads(facts: GgufFacts) -> int | None:
    heads, pattern = facts.kv["attention.head_count_kv"], facts.kv["attention.sliding_window_pattern"]
    return next((n for n, slides in zip(heads, pattern, strict=False) if slides), None)


def multimodal(config: Config) -> bool:
    """Whether the model sees and hears, which no class of its own says."""
    return isinstance(config.get("vision_config"), Mapping)


# The published settings, as other runtimes than transformers read them.
PUBLISHED: Mapping[str, Callable[[GgufFacts], Any]] = {
    "hybrid_layer_pattern": lambda facts: [*map(int, facts.kv["attention.sliding_window_pattern"])][:main_blocks(facts.kv)],
    "moe_layer_freq": lambda facts: [
        int(f"blk.{b}.ffn_gate_inp.weight" in facts.tensors) for b in range(main_blocks(facts.kv))],
    "swa_num_key_value_heads": local_heads,
    "swa_num_attention_heads": lambda facts: facts.kv["attention.head_count"],
    "swa_head_dim": lambda facts: facts.kv["attention.key_length"],
    "swa_v_head_dim": lambda facts: facts.kv["attention.value_length"],
    "sliding_window_size": lambda facts: facts.kv["attention.sliding_window"] - 1,
    "layernorm_epsilon": lambda facts: short(facts.kv["attention.layer_norm_rms_epsilon"]),
    "rope_theta": lambda facts: short(facts.kv["rope.freq_base"]),
    "swa_rope_theta": lambda facts: short(facts.kv.get("rope.freq_base_swa", 10000.0)),
    "partial_rotary_factor": lambda facts: share(facts.kv),
    "topk_method": lambda facts: "noaux_tc",
    "add_swa_attention_sink_bias": lambda facts: sinks(facts, True),
    "add_full_attention_sink_bias": lambda facts: sinks(facts, False),
}
MIMO25 = replace(
    MIMO2, classes=("MiMoV2ForCausalLM",), model_type="mimo_v2",
    hparams=(
        *MIMO2.hparams, *(Seen(name, fact) for name, fact in PUBLISHED.items()),
        Seen(LAYOUT, lambda facts: FUSED if "blk.0.attn_qkv.weight" in facts.tensors else SPLIT, names=layout),
    ),
    tensors=tuple(one for row in MIMO2.tensors for one in fused(
        replace(row, when=sinks_said) if row.when is slides else row)),
    constants={"sliding_sinks": Constant("add_swa_attention_sink_bias", neutral=False, default=False)},
    sizes={
        **MIMO2.sizes, "gpus": full_heads,
        **{f"gpu_{name}": of_a_gpu(rows) for name, rows in (
            ("queries", "head_rows"), ("keys", "key_rows"), ("values", "value_rows"))},
        "qkv_rows": lambda hp: [hp["head_rows"] + k + v for k, v in zip(hp["key_rows"], hp["value_rows"], strict=True)],
    },
    fits=lambda config: not multimodal(config), example="XiaomiMiMo/MiMo-V2.5-Pro",
)

BACK = {"mimo2": choice(MIMO2, (MIMO25, has("blk.0.attn_qkv.weight")))}
SPECS = (MIMO2, MIMO25, Whole("MiMoV2ForCausalLM", "mimo_v2", MIMO25, (), dict.fromkeys(
    ("visual.", "audio_encoder.", "speech_embeddings.")), example="XiaomiMiMo/MiMo-V2.5", fits=multimodal))
