"""Draft models, which guess what a larger model, their target, will say: EAGLE-3, DFlash, DSpark.

They read hidden states of the target's layers, and take its tokenizer; a head or an embedding that they lack is the target's
as well, at run time. Source: llama.cpp `src/models/eagle3.cpp`, `dflash.cpp`, `conversion/llama.py`, `qwen.py`, `gemma.py`,
`muse_glimmer.py`; transformers `models/muse_glimmer_assistant`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .llama import INV_FREQ, ROPE_DIM
from .qwen import ATTN, DEFAULTS, FFN

MASK = "tokenizer.ggml.mask_token_id"


def tokens(facts: GgufFacts) -> int | None:
    """Tokens of the file's vocabulary, which is the target's."""
    return len(found) if (found := facts.keys.get("tokenizer.ggml.tokens")) is not None else None


def tied(facts: GgufFacts) -> bool:
    return has("token_embd.weight")(facts) and not has("output.weight")(facts)


def either(*paths: str) -> Callable[[Config], Any]:
    """The first of several settings that is there."""
    def value(config: Config) -> Any:
        found = (get_path(config, path) for path in paths)
        return next((v for v in found if v is not MISSING), None)

    return value


# as many rows as d2t has, or the target's vocabulary
OWN_HEAD = R("output.weight", "lm_head.weight", need=False, shape="draft_vocab embedding_length")
OWN_TOKENS = R("d2t", "d2t", FromPosition(), need=False, shape="draft_vocab")
OWN_VOCABULARY = Seen("draft_vocab_size", lambda facts: facts.tensors["d2t"][0] if "d2t" in facts.tensors else tokens(facts))
OF_TARGET = {
    "draft_vocab": Shown("the draft's own tokens are as many as d2t lists", ("draft_vocab_size",)),
    "vocab_size": Shown("a draft without an embedding reads its target's", ("vocab_size",)),
    "markov_rank": Shown("the runtime sees it in the tensors", ("markov_rank",))}
JUDGED = {"judged": lambda hp: hp["embedding_length"] + hp["markov_rank"]}  # what confidence is told from
NO_OTHER_WAY = (Template("t2d"),)  # which of the target's tokens the draft has: what d2t says
ONE = [row for row in SHAPE if row is not BLOCK_COUNT]

# -- EAGLE-3: one block, which reads the embedding beside what three layers of the target made -----------------------


def tapped(config: Config) -> list[int]:
    """The layers of the target whose inputs the draft reads."""
    nested = get_path(config, "eagle_config.eagle_aux_hidden_state_layer_ids")
    layers = either("num_hidden_layers", "n_layer")(config["target"])
    usual = [2, layers // 2, layers - 3]
    if (told := config.get("eagle_aux_hidden_state_layer_ids")) or nested is MISSING or not nested:
        return told or usual
    if nested == [b - 1 for b in usual]:  # nvidia's count layers by their outputs
        return usual
    raise UnsupportedError("eagle_config.eagle_aux_hidden_state_layer_ids: whether they count inputs or outputs is not known",
                           file="config.json", expected=[b - 1 for b in usual], found=nested,
                           hint='Write "eagle_aux_hidden_state_layer_ids" into config.json: 1 for the first layer\'s output.')


EAGLE3 = ArchSpec(
    "eagle3", ("LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM", "Eagle3Speculator", "Eagle3DraftModel", "LlamaForCausalLM"),
    "llama", draft=True, fits=lambda c: "draft_vocab_size" in c or c.get("architectures") != ["LlamaForCausalLM"],
    hparams=(
        BLOCK_COUNT, *ONE, HEAD_KV, Rope(), RMS_EPS, *HEAD_LENGTHS, ROPE_DIM, VOCAB_SIZE, SILU, OWN_VOCABULARY,
        Computed("target_layers", tapped, "eagle_aux_hidden_state_layer_ids", lambda kv: kv["target_layers"]),
        Computed("target_hidden_size",
                 lambda c: c.get("target_hidden_size") or either("hidden_size", "n_embd")(c["target"]), "target_hidden_size",
                 lambda kv: kv["target_hidden_size"]),
        H("norm_before_residual", "norm_before_residual", BOOL, default=False),
        H("norm_before_fc", "norm_before_fc", BOOL, default=False), Seen("tie_word_embeddings", tied),
        Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "model.embed_tokens.weight", need=False, shape="vocab_size embedding_length"),
        R("fc.weight", "fc.weight", shape="embedding_length fused"),
        R("enc.output_norm.weight", "input_norm.weight", shape="fused", when=lambda hp, b: hp["norm_before_fc"]),
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.attn_norm_2.weight", L + "hidden_norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", ROPE, shape="head_rows 2*embedding_length"),
        R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", ROPE, shape="head_kv_rows 2*embedding_length"),
        R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows 2*embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
        R("blk.{b}.ffn_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        *FFN, R("output_norm.weight", "norm.weight", shape="embedding_length"), OWN_HEAD, OWN_TOKENS,
    ),
    derived=(LLAMA3_FREQS,), defaults=DECODER_DEFAULTS, ignore=(*INV_FREQ, *NO_OTHER_WAY),
    shown=OF_TARGET,
    sizes={**SIZES, **JUDGED, "fused": lambda hp: len(hp["target_layers"]) * hp["target_hidden_size"]},
    aliases=(("midlayer.", "model.layers.0."), ("layers.", "model.layers."), ("embed_tokens.", "model.embed_tokens."),
             ("model.norm.", "norm.")),
    example="yuhuili/EAGLE3-LLaMA3.1-Instruct-8B",
)

# -- DFlash: a block of masks at once, between keys and values that the target's hidden states make -------------------

B, S = "layers.{b}.", "candidate_selector."


def tapped_outputs(*paths: str, more: int = 1) -> Callable[[Config], Any]:
    """The layers of the target whose inputs the draft reads, from those whose outputs it does."""
    def value(config: Config) -> list[int]:
        if (told := either(*paths)(config)) is None:
            raise Missing(paths[0])
        return [b + more for b in told]

    return value


def outputs(kv: Mapping[str, Any]) -> list[int]:
    return [b - 1 for b in kv["target_layers"]]


def window(config: Config) -> int | None:
    dflash = config.get("dflash_config") or {}
    slides = config.get("use_sliding_window") or dflash.get("use_swa")
    return (dflash.get("swa_window_size") or config.get("sliding_window") or None) if slides else None


def slides(config: Config) -> list[bool] | None:
    if window(config) is None:
        return None
    if (config.get("dflash_config") or {}).get("use_swa"):
        return [True] * config["num_hidden_layers"]
    return [kind == "sliding_attention" for kind in config.get("layer_types") or []]


def kinds(kv: Mapping[str, Any]) -> list[str] | None:
    if (marks := kv.get("attention.sliding_window_pattern")) is None:
        return ["full_attention"] * kv["block_count"]
    return ["sliding_attention" if mark else "full_attention" for mark in marks]


def sections(config: Config) -> list[int] | None:
    """Of a target that turns by sections, the draft turns all by the first."""
    if "mrope_section" not in full_attention_rope(config["target"]):
        return None
    return [config["head_dim"] // 2, 0, 0, 0]


def turned_part(facts: GgufFacts) -> float | None:
    """The part of a head that turns, where that is not all of it."""
    turned, length = facts.kv["rope.dimension_count"], facts.kv["attention.key_length"]
    return None if turned == length else turned / length


def setting(key: str, name: str, kind: ValueType = ValueType.UINT32, default: Any = None, inside: bool = False) -> Computed:
    """A key that is a setting of dflash_config, or (unless always `inside`) beside it."""
    nested = f"dflash_config.{name}"
    told = either(nested) if inside else either(nested, name)
    return Computed(key, lambda c: default if (v := told(c)) is None else float(v) if kind is F32 else v,
                    nested if inside else name,
                    lambda kv: None if key not in kv else short(kv[key]) if kind is F32 else kv[key], kind)


CAPS = ("dflash_config.final_logit_softcapping", "final_logit_softcapping")
# Heads whose rows pair neighbours are told to pair halves, as the runtime does.
HALVES = RopePermute("head_length", turned="interleaved", undo=True)
PAIRED = {"rope_is_neox_style": Constant("rope_is_neox_style", neutral=True)}
TURNING = ("attn_q.", "attn_k.", "attn_q_norm.", "attn_k_norm.")

DFLASH = ArchSpec(
    "dflash", ("DFlashDraftModel",), "qwen3", draft=True,
    hparams=(
        BLOCK_COUNT, *ONE, HEAD_KV, Rope(), RMS_EPS, *HEAD_LENGTHS, SILU, Seen("vocab_size", tokens),
        Seen("tie_word_embeddings", tied),
        setting("block_size", "block_size", default=16), setting("conv_kernel_size", "conv_kernel_size", inside=True),
        setting("conv_group_size", "conv_group_size", inside=True), setting("selector_rank", "selector_rank", inside=True),
        setting("selector_top_k", "selector_top_k", inside=True), setting("logit_scale", "output_multiplier", F32),
        setting("embedding_scale", "input_embedding_scale", F32),
        Computed("final_logit_softcapping", lambda c: either(*CAPS)(c) or None, CAPS[1],
                 lambda kv: short(kv.get("final_logit_softcapping")), F32),
        setting("attention.value_scale", "attention_value_scale", F32, inside=True),
        Computed("rope.dimension_count", lambda c: int(c["head_dim"] * part) if (
            part := full_attention_rope(c).get("partial_rotary_factor")) is not None else None),
        Seen("rope_parameters.partial_rotary_factor", turned_part),
        Computed("rope.dimension_sections", sections),
        Computed("target_layers", tapped_outputs("dflash_config.target_layer_ids", "target_layer_ids"),
                 "dflash_config.target_layer_ids", outputs),
        Computed(MASK, either("dflash_config.mask_token_id")),
        Seen("dflash_config.mask_token_id", lambda facts: facts.keys.get(MASK)),
        Computed("attention.sliding_window", window, "sliding_window", lambda kv: kv.get("attention.sliding_window")),
        Computed("attention.sliding_window_pattern", slides, "layer_types", kinds, BOOL),
        Seen("use_sliding_window", lambda facts: "attention.sliding_window" in facts.kv),
        Computed("attention.causal", either("is_causal", "dflash_config.causal"), "is_causal",
                 lambda kv: None if kv.get("attention.causal", True) else False, BOOL),
        Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "embed_tokens.weight", need=False, shape="vocab_size embedding_length"),
        R("fc.weight", "fc.weight", shape="embedding_length fused"),
        R("enc.output_norm.weight", "hidden_norm.weight", shape="embedding_length"),
        *(replace(row, ops=(HALVES,)) if any(part in str(row.gguf[0]) for part in TURNING) else row
          for row in headless(*NORMS, *ATTN, *QK_NORM, *FFN, *OUT_NORM)),
        *(R("blk.{b}.attn_sinks.weight", B + f"self_attn.{name}", need=False, shape="attention.head_count")
          for name in ("sinks", "attention_sink_bias", "sinks.weight", "attention_sink_bias.weight")),
        *where(lambda hp, b: "conv_kernel_size" in hp, *(
            R(f"blk.{{b}}.{part}_conv_{name}", B + f"{hf}_conv.{theirs}", shape=size)
            for part, hf in (("attn", "attention"), ("ffn", "mlp"))
            for name, theirs, size in (("base", "base_kernel", "2 conv_kernel_size embedding_length"),
                                       ("proj.weight", "kernel_projection.weight", "projected embedding_length")))),
        *where(lambda hp, b: "selector_rank" in hp,
               R("selector_predecessor.weight", S + "predecessor_codebook", shape="vocab_size selector_rank"),
               R("selector_successor.weight", S + "successor_codebook", shape="vocab_size selector_rank"),
               R("selector_hidden.weight", S + "hidden_projection.weight", shape="selector_rank embedding_length")),
        OWN_HEAD, OWN_TOKENS,
    ),
    defaults={**DEFAULTS, **DECODER_DEFAULTS}, aliases=(("model.", ""),), ignore=NO_OTHER_WAY, constants=PAIRED,
    shown=OF_TARGET,
    sizes={**SIZES, **JUDGED, "fused": lambda hp: len(hp["target_layers"]) * hp["embedding_length"],
           "interleaved": lambda hp: 0 if hp["rope_is_neox_style"] else hp["head_length"],
           "projected": lambda hp: 2 * hp["conv_kernel_size"] * hp["embedding_length"] // hp["conv_group_size"]},
    example="z-lab/Qwen3-8B-DFlash-b16",
)

DFLASH2 = replace(DFLASH, classes=("DFlash2DraftModel",))

# -- DSpark: a DFlash whose logits are shifted by the token before --------------------------------------------------

def sampled(config: Config) -> bool:
    """Whether the first token of a block is guessed from the anchor, as exports of DFlash's kind do."""
    ours = "transformer_layer_config" not in config and "aux_hidden_state_layer_ids" not in config
    return config.get("sample_from_anchor", ours)


def tapped_or_aux(config: Config) -> list[int]:
    if config.get("aux_hidden_state_layer_ids"):
        return config["aux_hidden_state_layer_ids"]  # EAGLE-3's way to count
    return tapped_outputs("dflash_config.target_layer_ids", "target_layer_ids")(config)


MARKOV = (
    R("markov_w1.weight", "markov_head.markov_w1.weight", shape="vocab_size markov_rank"),
    R("markov_w2.weight", "markov_head.markov_w2.weight", shape="draft_vocab markov_rank"),
    R("conf_proj.{p}", "confidence_head.proj.{p}", need=False, shape="1 judged"),
)
NESTED = ("dflash_config.markov_head_type", "dspark_config.markov_head_type")  # where published drafts may have it
DSPARK = replace(
    DFLASH, classes=("Qwen3DSparkModel", "DSparkDraftModel", "DSparkSpeculator", "Lfm2DSparkDraftModel", "LingDSparkModel"),
    hparams=(
        *without(DFLASH.hparams, "target_layers", MASK, "dflash_config.mask_token_id"),
        Computed("target_layers", tapped_or_aux, "target_layer_ids", outputs),
        Computed(MASK, either("dspark_config.mask_token_id", "dflash_config.mask_token_id", "mask_token_id")),
        Seen("mask_token_id", lambda facts: facts.keys.get(MASK)),
        Computed("sample_from_anchor", sampled, "sample_from_anchor", lambda kv: kv.get("sample_from_anchor", True), BOOL),
        Seen("has_confidence_head", lambda facts: None, names=lambda c, names: any("confidence" in name for name in names)),
        Computed("has_confidence_head", lambda c: c["has_confidence_head"], type=BOOL), OWN_VOCABULARY,
        Seen("markov_rank", size("markov_w1.weight", 1)),
        Fixed("markov_head_type", "vanilla", refuse=True),
        *(Seen(nested, lambda facts: None, among=("vanilla",)) for nested in NESTED),
    ),
    tensors=(*DFLASH.tensors, *MARKOV), example="satgeze/Qwen3.6-27B-DSpark",
    aliases=(("model.", ""), ("confidence_proj.", "confidence_head.proj.")),
)

# Gemma 4's blocks, all with full attention, whose values are their keys.
OWN = ("block_size", "target_layers", MASK, "mask_token_id", "sample_from_anchor", "has_confidence_head", "markov_head_type",
       *NESTED)
NOT_GEMMAS = ("ffn_norm", "attn_v", "conv_", "selector_", "sinks")
PROPORTIONAL = {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}}
GEMMA4_DSPARK = replace(
    DSPARK, classes=("Gemma4DSparkModel",), model_type="gemma4_dspark",
    hparams=(
        BLOCK_COUNT, *ONE, Rope(), RMS_EPS, Seen("vocab_size", tokens),
        H("attention.head_count_kv", "num_global_key_value_heads"), H("attention.key_length", "global_head_dim"),
        H("attention.value_length", "global_head_dim"), H("rope.dimension_count", "global_head_dim"),
        Computed("embedding_scale", lambda c: math.sqrt(c["hidden_size"]), type=F32), Const("attention.scale", 1.0, F32),
        Const("hidden_activation", "gelu_pytorch_tanh", ValueType.STRING),
        Fixed("hidden_activation", "gelu_pytorch_tanh", refuse=True),
        *(rule for rule in DSPARK.hparams if {*OWN} & {*rule.writes, *rule.fills}),
        Fixed("attention_k_eq_v", True, refuse=True), Fixed("enable_moe_block", False, refuse=True),
        Fixed("attention_bias", False, refuse=True), Fixed("final_logit_softcapping", None, refuse=True),
        Fixed("layer_types", lambda c: ["full_attention"] * c["num_hidden_layers"], refuse=True),
        Fixed("dflash_config.use_swa", False, refuse=True), Seen("tie_word_embeddings", tied),
    ),
    tensors=(
        *(row for row in DFLASH.tensors if not any(part in str(row.gguf[0]) for part in NOT_GEMMAS)),
        R("blk.{b}.post_attention_norm.weight", B + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", B + "pre_feedforward_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm.weight", B + "post_feedforward_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.layer_output_scale.weight", B + "layer_scalar", shape="1", need=False),
        *MARKOV,
    ),
    derived=(PROPORTIONAL_FREQS,), defaults={"rope_parameters": PROPORTIONAL, "rms_norm_eps": 1e-6}, example="",
)

# As transformers has it.
MUSE = replace(
    DFLASH, classes=("MuseGlimmerAssistantModel",), model_type="muse_glimmer_assistant",
    hparams=(
        *without(DFLASH.hparams, "target_layers", MASK, "dflash_config.mask_token_id", "attention.sliding_window",
                 "use_sliding_window", "attention.sliding_window_pattern", "rope.dimension_sections", "attention_bias"),
        Computed("target_layers", tapped_outputs("target_layer_ids"), "target_layer_ids", outputs),
        Computed(MASK, either("mask_token_id")), Seen("mask_token_id", lambda facts: facts.keys.get(MASK)),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", lambda c: [kind == "sliding_attention" for kind in c["layer_types"]],
                 "layer_types", kinds, BOOL),
    ),
    tensors=(
        R("fc.weight", "encoder.fc.weight", shape="embedding_length fused"),
        R("enc.output_norm.weight", "encoder.output_norm_enc.weight", shape="embedding_length"),
        *(row for row in DFLASH.tensors if str(row.gguf[0]) not in ("fc.weight", "enc.output_norm.weight")),
    ),
    defaults={**DECODER_DEFAULTS, "layer_types": lambda c: ["sliding_attention"] * c["num_hidden_layers"],
              "sliding_window": 2048, "rope_theta": 500000.0,
              "target_layer_ids": [1, 13, 25, 37, 49], "mask_token_id": 201818, "block_size": 16},
    aliases=(), example="meta-models/Muse-Glimmer-30B-assistant",
)

BACK = {"dflash": choice(DFLASH, (GEMMA4_DSPARK, has("blk.0.post_attention_norm.weight")), (DSPARK, has("markov_w1.weight")),
                         (DFLASH2, has("selector_hidden.weight")),
                         (MUSE, named("glimmer")))}
SPECS = (EAGLE3, DFLASH, DFLASH2, DSPARK, GEMMA4_DSPARK, MUSE)
