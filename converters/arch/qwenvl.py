"""The text parts of Qwen's models that see and hear: Qwen2-VL, Qwen2.5-VL, Qwen2.5-Omni, Qwen3-VL, -ASR, -Omni.

In text alone every token has the same place in time, height and width, so that the sections of the rotary dimensions make no
difference: these parts compute what Qwen2 and Qwen3 do, and come back as such.
Source: transformers `models/qwen2_vl`, `qwen2_5_vl`, `qwen3_vl`; llama.cpp `src/models/qwen2vl.cpp`, `qwen3vl.cpp`,
`conversion/qwenvl.py`, `qwen3vl.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .llama import MULTIMODAL
from .qwen import ATTN, DEFAULTS, FFN, FULL_ATTENTION, NO_BIAS, QKV_BIAS, heads_or
from .qwen35 import SECTIONS


def sections(*default: int) -> HparamRule:
    """Rotary dimensions for time, height and width, which the classes of text alone do not have."""
    return Computed("rope.dimension_sections",
                    lambda c: SECTIONS.encode(full_attention_rope(c).get("mrope_section") or [*default]), type=INT32)


def deepstack(config: Config) -> int:
    """How many blocks get features of the image added; the vision class has three where the config names none."""
    vision = config.get("vision_config") or {}
    return len(vision.get("deepstack_visual_indexes", (8, 16, 24)))


def unturned(config: Config) -> bool:
    """Whether time has pairs behind the last of those of height or width that lie between its own."""
    sizes = full_attention_rope(config).get("mrope_section") or (24, 20, 20)
    return any(3 * size + axis < sum(sizes) for axis, size in enumerate(sizes))


THINKER = (("thinker.model.", "model."), ("thinker.", ""))
OMNI_PARTS = dict.fromkeys(("thinker.visual.", "model.visual.", "thinker.audio_tower.", "talker.", "token2wav.", "code2wav."))
VISION = dict.fromkeys(("visual.", "model.visual."))

QWEN2VL = ArchSpec(
    "qwen2vl", ("Qwen2ForCausalLM",), "qwen2", hparams=(*DECODER, FULL_ATTENTION, sections(16, 24, 24),
             Note("the runtime does not read rms_norm_eps of Qwen2-VL and takes 0", lambda c: c["rms_norm_eps"])),
    tensors=(*EMBED, *NORMS, *ATTN, *QKV_BIAS, *FFN, *OUT_NORM, *HEAD),
    defaults={"max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
              "num_key_value_heads": heads_or(8)},
    sizes=SIZES,
)
QWEN2_VL = Whole("Qwen2VLForConditionalGeneration", "qwen2_vl", QWEN2VL, MULTIMODAL, VISION,
                 example="Qwen/Qwen2-VL-2B-Instruct")
QWEN25_VL = replace(QWEN2_VL, name="Qwen2_5_VLForConditionalGeneration", model_type="qwen2_5_vl",
                    example="Qwen/Qwen2.5-VL-3B-Instruct")
QWEN2_VL_MODEL = replace(QWEN2_VL, name="Qwen2VLModel", text=replace(QWEN2VL, headless=("Qwen2VLModel",)),
                         aliases=(*MULTIMODAL[:2], ("language_model.", "model.")))
QWEN25_OMNI = Whole("Qwen2_5OmniModel", "qwen2_5_omni", QWEN2VL, THINKER, OMNI_PARTS, example="Qwen/Qwen2.5-Omni-3B")

QWEN3VL = ArchSpec(
    "qwen3vl", ("Qwen3ForCausalLM",), "qwen3",
    hparams=(*DECODER, NO_BIAS, sections(24, 20, 20), Computed("n_deepstack_layers", deepstack),
             Note("the runtime does not turn the last pairs that interleaved sections leave to time", unturned)),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *FFN, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "max_position_embeddings": 128000, "num_key_value_heads": heads_or(32), "head_dim": 128,
              "rope_theta": 500000.0},
    sizes=SIZES,
)
QWEN3_VL = Whole("Qwen3VLForConditionalGeneration", "qwen3_vl", QWEN3VL, MULTIMODAL, VISION,
                 example="Qwen/Qwen3-VL-4B-Instruct")

QWEN3VLMOE = ArchSpec(
    "qwen3vlmoe", ("Qwen3MoeForCausalLM",), "qwen3_moe",
    hparams=(*QWEN3VL.hparams, *EXPERTS, EXPERT_LENGTH, Fixed("norm_topk_prob", True), Fixed("decoder_sparse_step", 1),
             Fixed("mlp_only_layers", [])),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *OUT_NORM, *HEAD),
    defaults={**QWEN3VL.defaults, "num_key_value_heads": heads_or(16), "head_dim": per_head, "norm_topk_prob": True},
    sizes=SIZES,
)
TURNED_EXPERTS = (  # [experts, in, out], as only this class stores them
    R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), L + "mlp.experts.gate_up_proj", Transpose(conv1d=True),
      Split((1, 1)), shape="expert_count embedding_length 2*expert_feed_forward_length"),
    R("blk.{b}.ffn_down_exps.weight", L + "mlp.experts.down_proj", Transpose(conv1d=True),
      shape="expert_count expert_feed_forward_length embedding_length"),
)
QWEN3_VL_MOE = Whole("Qwen3VLMoeForConditionalGeneration", "qwen3_vl_moe", QWEN3VLMOE, MULTIMODAL, VISION,
                     example="Qwen/Qwen3-VL-30B-A3B-Instruct", layout=TURNED_EXPERTS)

# What hears is not what sees: no features are added behind the first block.
QWEN3_OMNI = Whole("Qwen3OmniMoeForConditionalGeneration", "qwen3_omni_moe", replace(QWEN3VLMOE, hparams=(
    *without(QWEN3VLMOE.hparams, "n_deepstack_layers"), Const("n_deepstack_layers", 0))), THINKER, OMNI_PARTS,
    example="Qwen/Qwen3-Omni-30B-A3B-Instruct")
QWEN3_ASR = Whole("Qwen3ASRForConditionalGeneration", "qwen3_asr", replace(
    QWEN3VL, hparams=(*without(QWEN3VL.hparams, "n_deepstack_layers"), Const("n_deepstack_layers", 0)),
    defaults={**QWEN3VL.defaults, "max_position_embeddings": 65536, "num_key_value_heads": heads_or(8),
              "tie_word_embeddings": True, "rope_theta": 10000.0}),
    (*MULTIMODAL, *THINKER), dict.fromkeys(("model.audio_tower.", "model.multi_modal_projector.", "thinker.audio_tower.")),
    example="Qwen/Qwen3-ASR-0.6B-hf", modules=MULTIMODAL[:1])

BACK = {"qwen2vl": choice(QWEN2VL), "qwen3vl": choice(QWEN3VL), "qwen3vlmoe": choice(QWEN3VLMOE)}
SPECS = (QWEN2_VL, QWEN2_VL_MODEL, QWEN25_VL, QWEN25_OMNI, QWEN3_VL, QWEN3_VL_MOE, QWEN3_OMNI, QWEN3_ASR)
