"""Nemotron-H and Nemotron 3: every block is one thing: Mamba 2, attention without positions, a feed-forward, or experts.

GGUF tells by the blocks' key-value heads and feed-forward rows which it is. Multi-token prediction is two blocks in HF
(attention, experts) and one in GGUF. Puzzle has experts of another size and number in each block.
Source: transformers `models/nemotron_h`; llama.cpp `src/models/nemotron-h*.cpp`, `conversion/nemotron.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .lfm2 import listed
from .mamba import SIZES_2, mamba2

B = "backbone.layers.{b}."
M = B + "mixer."
KINDS = {"M": ("mamba", "linear_attention"), "*": ("attention", "full_attention"), "-": ("mlp",), "E": ("moe",)}


def pattern(config: Config) -> str:
    """One letter per block: M, *, - or E."""
    stated = config.get("hybrid_override_pattern") or config.get("layers_block_type") or [
        block["block_type"] for block in config["block_configs"]]
    letters = [next((letter for letter, names in KINDS.items() if kind == letter or kind in names), "?") for kind in stated]
    if "?" in letters:
        raise ValueError(f"blocks of mamba, attention, mlp and moe are expected, not {stated}")
    return "".join(letters)


def has_experts(config: Config) -> bool:
    return "E" in pattern(config)


def extra_blocks(config: Config) -> int:
    return config.get("num_nextn_predict_layers") or 0


def in_blocks(kinds: str, value: Any) -> Any:
    """A value in blocks of these kinds, 0 in the others; the prediction's block is one of attention and of experts."""
    return lambda c: [value(c) * (kind in kinds) for kind in pattern(c)] + [value(c)] * extra_blocks(c)


def found_pattern(facts: GgufFacts) -> str:
    """The letters that the keys of a file stand for."""
    heads, rows = listed(facts.kv), facts.kv["feed_forward_length"]
    feed = "E" if "expert_count" in facts.kv else "-"
    return "".join("*" if heads[b] else feed if rows[b] else "M" for b in range(main_blocks(facts.kv)))


def predicted(config: Config, names: Collection[str]) -> int:
    """Whether the checkpoint has what config.json promises; transformers leaves it out."""
    return int(any(name.startswith("mtp.layers.0.") for name in names))


def block(what: str) -> Callable[[Hparams, int], bool]:
    """Whether a block is of this kind: it has key-value heads, feed-forward rows, or neither."""
    def when(hp: Hparams, b: int) -> bool:
        heads, rows = listed(hp)[b] > 0, hp["feed_forward_length"][b] > 0
        return {"attention": heads and not rows, "feed": rows and not heads, "ssm": not heads and not rows}[what]
    return when


HYBRID: tuple[HparamRule, ...] = (
    Computed("block_count", lambda c: len(pattern(c)) + extra_blocks(c), "num_hidden_layers", main_blocks),
    Computed("attention.head_count_kv", in_blocks("*", lambda c: c["num_key_value_heads"]),
             "num_key_value_heads", lambda kv: max(listed(kv))),
    EMBEDDING_LENGTH, HEAD_COUNT, *HEAD_LENGTHS, TIED, VOCAB_SIZE, VOCAB_ROWS,
    Computed("context_length", lambda c: 2**20, "max_position_embeddings", lambda kv: kv["context_length"]),
    H("attention.layer_norm_epsilon", "layer_norm_epsilon", F32),
    Computed("attention.layer_norm_rms_epsilon", lambda c: c["layer_norm_epsilon"]
             if "norm_eps" in c or "rms_norm_eps" in c else None, type=F32),  # the same to the runtime
    Computed("rope.dimension_count", per_head), Const("rope.scaling.finetuned", False, BOOL),  # no positions
    H("ssm.conv_kernel", "conv_kernel"), H("ssm.state_size", "ssm_state_size"), H("ssm.group_count", "n_groups"),
    H("ssm.time_step_rank", "mamba_num_heads"),
    Computed("ssm.inner_size", lambda c: c["mamba_num_heads"] * c["mamba_head_dim"],
             "mamba_head_dim", lambda kv: kv["ssm.inner_size"] // kv["ssm.time_step_rank"]),
    Fixed("mlp_hidden_act", "relu2", refuse=True), Fixed("mamba_hidden_act", "silu"),
    *(Fixed(key, False, refuse=True) for key in ("attention_bias", "mlp_bias", "mamba_proj_bias", "use_bias")),
    Fixed("use_conv_bias", True, refuse=True),
    Note("the runtime does not raise time steps to time_step_min", lambda c: c.get("time_step_min", 0.001)),
)
PATTERN = Seen("hybrid_override_pattern", found_pattern)
MOE = (
    H("expert_count", "n_routed_experts"), H("expert_shared_count", "n_shared_experts"),
    H("expert_shared_feed_forward_length", "moe_shared_expert_intermediate_size"),
    H("expert_weights_norm", "norm_topk_prob", BOOL), H("expert_weights_scale", "routed_scaling_factor", F32),
    H("expert_group_count", "n_group"), H("expert_group_used_count", "topk_group", need=False),
    H("moe_latent_size", "moe_latent_size", need=False),
)

ATTN = where(
    block("attention"),
    R("blk.{b}.attn_q.weight", M + "q_proj.weight", ROPE, shape="head_rows embedding_length"),  # permuted for nothing
    R("blk.{b}.attn_k.weight", M + "k_proj.weight", ROPE, shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_v.weight", M + "v_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_output.weight", M + "o_proj.weight", shape="embedding_length head_rows"),
)
DENSE = where(
    block("feed"),
    R("blk.{b}.ffn_up.weight", M + "up_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", M + "down_proj.weight", shape="embedding_length feed_forward_length"),
)
EXPERT_ROWS = where(
    block("feed"),
    R("blk.{b}.ffn_gate_inp.weight", M + "gate.weight", shape="expert_count embedding_length", type="F32"),
    R("blk.{b}.exp_probs_b.bias", M + "gate.e_score_correction_bias", shape="expert_count"),
    R("blk.{b}.ffn_up_exps.weight", M + "experts.{e}.up_proj.weight", shape="expert_feed_forward_length latent_rows"),
    R("blk.{b}.ffn_down_exps.weight", M + "experts.{e}.down_proj.weight", shape="latent_rows expert_feed_forward_length"),
    R("blk.{b}.ffn_up_exps.weight", M + "experts.up_proj", shape="expert_count expert_feed_forward_length latent_rows"),
    R("blk.{b}.ffn_down_exps.weight", M + "experts.down_proj", shape="expert_count latent_rows expert_feed_forward_length"),
    R("blk.{b}.ffn_up_shexp.weight", M + "shared_experts.up_proj.weight",
      shape="expert_shared_feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", M + "shared_experts.down_proj.weight",
      shape="embedding_length expert_shared_feed_forward_length"),
) + where(
    lambda hp, b: "moe_latent_size" in hp and block("feed")(hp, b),
    R("blk.{b}.ffn_latent_down.weight", M + "fc1_latent_proj.weight", shape="latent_rows embedding_length",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.ffn_latent_up.weight", M + "fc2_latent_proj.weight", shape="embedding_length latent_rows",
      no_lora=NO_ADAPTERS),
)


def of_prediction(layer: str, *rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows of a block for one of the two that predict a token further."""
    return tuple(replace(row, gguf=tuple(Template(t.text.replace("{b}", "{m}")) for t in row.gguf), when=None,
                         need="latent" not in row.gguf[0].text,
                         hf=tuple(Template(t.text.replace(B, f"mtp.layers.{layer}.")) for t in row.hf)) for row in rows)


NORM = R("blk.{b}.attn_norm.weight", B + "norm.weight", shape="embedding_length")
OUTSIDE = (
    R("token_embd.weight", "backbone.embeddings.weight", shape="vocab_size embedding_length"), NORM,
    R("output_norm.weight", "backbone.norm_f.weight", shape="embedding_length"), *HEAD,
    *where(block("ssm"), *mamba2(M, norm=True)),
)
MTP = (
    R("blk.{m}.nextn.enorm.weight", "mtp.layers.0.enorm.weight", shape="embedding_length"),
    R("blk.{m}.nextn.hnorm.weight", "mtp.layers.0.hnorm.weight", shape="embedding_length"),
    R("blk.{m}.nextn.eh_proj.weight", "mtp.layers.0.eh_proj.weight", shape="embedding_length 2*embedding_length"),
    R("blk.{m}.post_attention_norm.weight", "mtp.layers.1.norm.weight", shape="embedding_length"),
    R("blk.{m}.nextn.shared_head_norm.weight", "mtp.layers.1.final_layernorm.weight", shape="embedding_length"),
    *of_prediction("0", NORM, *ATTN), *of_prediction("1", *EXPERT_ROWS),
)
DEFAULTS = {
    "num_key_value_heads": 8, "head_dim": lambda c: c.get("attention_head_dim", 128), "layer_norm_epsilon": 1e-5,
    "conv_kernel": 4, "n_groups": 8, "ssm_state_size": 128, "n_shared_experts": 1, "norm_topk_prob": True,
    "routed_scaling_factor": 1.0, "n_group": 1,
}
HYBRID_SIZES = {
    **SIZES, **SIZES_2, "head_kv_rows": lambda hp: max(listed(hp)) * hp["head_length"], "main_blocks": main_blocks,
    "latent_rows": lambda hp: hp.get("moe_latent_size") or hp["embedding_length"],
}
ALIASES = (("model.", "backbone."),)

NEMOTRON_H = ArchSpec(
    "nemotron_h", ("NemotronHForCausalLM",), "nemotron_h",
    hparams=(*HYBRID, PATTERN, Computed("feed_forward_length", in_blocks("-", lambda c: c["intermediate_size"]),
                                        "intermediate_size", lambda kv: max(kv["feed_forward_length"]))),
    tensors=(*OUTSIDE, *ATTN, *DENSE), defaults={**DEFAULTS, "num_nextn_predict_layers": 0}, sizes=HYBRID_SIZES,
    aliases=ALIASES, modules=ALIASES, example="nvidia/Nemotron-H-8B-Base-8K", fits=lambda c: not has_experts(c),
)
NEMOTRON_H_MOE = ArchSpec(
    "nemotron_h_moe", ("NemotronHForCausalLM",), "nemotron_h",
    hparams=(
        *HYBRID, PATTERN, *MOE, H("expert_used_count", "num_experts_per_tok"), EXPERT_LENGTH,
        Computed("feed_forward_length", in_blocks("E", lambda c: c["moe_intermediate_size"])),
        Seen("num_nextn_predict_layers", lambda facts: facts.kv.get("nextn_predict_layers", 0), names=predicted),
        Computed("nextn_predict_layers", lambda c: extra_blocks(c) or None),
    ),
    tensors=(*OUTSIDE, *ATTN, *EXPERT_ROWS, *MTP), defaults=DEFAULTS, sizes=HYBRID_SIZES, aliases=ALIASES, modules=ALIASES,
    stacks={"b": Stack("main_blocks"), "m": Stack("nextn_predict_layers", after="b")},
    example="nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", fits=has_experts,
)


def per_block(key: str) -> Any:
    return lambda c: [block.get(key) or 0 for block in c["block_configs"]]


def block_configs(facts: GgufFacts) -> list[Config]:
    kinds = {"M": "mamba", "*": "attention", "E": "moe"}
    sizes = zip(found_pattern(facts), facts.kv["expert_feed_forward_length"], facts.kv["expert_used_count"], strict=True)
    return [{"block_type": kinds[letter], **({"moe_intermediate_size": rows, "num_experts_per_tok": used} if rows else {})}
            for letter, rows, used in sizes]


PUZZLE = Whole(
    "NemotronHPuzzleForCausalLM", "nemotron_h_puzzle",
    text=ArchSpec(
        "nemotron_h_moe", ("NemotronHPuzzleForCausalLM",), "nemotron_h_puzzle",
        hparams=(
            *HYBRID, *MOE, Seen("block_configs", block_configs),
            Seen("num_nextn_predict_layers", lambda facts: 0, names=lambda config, names: 0),
            Computed("feed_forward_length", per_block("moe_intermediate_size")),
            Computed("expert_feed_forward_length", per_block("moe_intermediate_size")),
            Computed("expert_used_count", per_block("num_experts_per_tok")),
        ),
        tensors=(*OUTSIDE, *ATTN, *EXPERT_ROWS), defaults=DEFAULTS, sizes=HYBRID_SIZES, aliases=ALIASES, modules=ALIASES,
    ),
    aliases=(), parts={"mtp.": None}, example="nvidia/NVIDIA-Nemotron-Labs-3-Puzzle-75B-A9B-BF16",
)


def seeing(text: ArchSpec) -> Whole:
    """The class that sees, around one of the language models."""
    def fits(config: Config) -> bool:
        return text.fits is None or text.fits(dict(text_settings(config)))

    return Whole("NemotronH_Nano_VL_V2", "NemotronH_Nano_VL_V2", replace(text, fits=fits), (("language_model.", ""),),
                 dict.fromkeys(("vision_model.", "mlp1.", "sound_encoder.", "sound_projection.")),
                 example="nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16")


def differing_blocks(facts: GgufFacts) -> bool:
    """Whether each block has a number of its own; of a list the facts of a choice do not tell."""
    return facts.keys.get("nemotron_h_moe.expert_used_count", 0) is None


BACK = {"nemotron_h_moe": choice(NEMOTRON_H_MOE, (PUZZLE.text, differing_blocks))}
SPECS = (NEMOTRON_H, NEMOTRON_H_MOE, PUZZLE, seeing(NEMOTRON_H), seeing(NEMOTRON_H_MOE))
