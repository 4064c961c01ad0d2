"""Classes that see or hear around a language model of another family: their text parts, which come back as its class.

Source: transformers `models/llava`, `voxtral`, `janus`, `idefics3`, `smolvlm`, `qwen2_audio`, `audioflamingo3`,
`granite_speech`; for the others the code beside their weights; llama.cpp `conversion/`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .exaone import EXAONE4
from .gemma4 import GEMMA4, LANGUAGE_MODEL
from .granite import GRANITE
from .granitehybrid import GRANITE_4_DENSE, attention
from .llama import LLAMA, MULTIMODAL
from .phi import PHI3
from .projectors.granite_vision import injections
from .qwen import DEFAULTS, QKV_BIAS, QWEN2, QWEN3


def beside(spec: ArchSpec, *model_types: str) -> ArchSpec:
    """The table for a text part whose config is of one of these types; others have other tables, or none."""
    def fits(config: Config) -> bool:
        return text_settings(config).get("model_type", model_types[0]) in model_types

    return replace(spec, fits=fits)


def parts(*names: str) -> dict[str, ArchSpec | None]:
    """Prefixes of other parts' names, as transformers 4 and 5 spell them."""
    return dict.fromkeys((*(f"{name}." for name in names), *(f"model.{name}." for name in names)))


SEEING = parts("vision_tower", "multi_modal_projector")
HEARING = parts("audio_tower", "multi_modal_projector")
LLAVA = Whole("LlavaForConditionalGeneration", "llava", beside(LLAMA, "llama", "mistral"), MULTIMODAL, SEEING,
              example="mistral-community/pixtral-12b")
VOXTRAL = Whole("VoxtralForConditionalGeneration", "voxtral", LLAMA, MULTIMODAL, HEARING,
                example="mistralai/Voxtral-Mini-3B-2507")
JANUS = Whole("JanusForConditionalGeneration", "janus", LLAMA, MULTIMODAL,
              parts("vision_model", "aligner", "vqmodel", "generation_embeddings", "generation_aligner", "generation_head"),
              example="deepseek-community/Janus-Pro-1B")
IDEFICS3 = Whole("Idefics3ForConditionalGeneration", "idefics3", LLAMA, (("model.text_model.", "model."),),
                 parts("vision_model", "connector"), example="HuggingFaceTB/SmolVLM-Instruct")
SMOLVLM = replace(IDEFICS3, name="SmolVLMForConditionalGeneration", model_type="smolvlm",
                  example="HuggingFaceTB/SmolVLM2-2.2B-Instruct")
VLLAMA3 = replace(IDEFICS3, name="VLlama3ForCausalLM")
SARASHINA2 = Whole("Sarashina2VisionForCausalLM", "sarashina2_vision", LLAMA, (("llm.", ""),),
                   dict.fromkeys(("visual.", "norm.")), example="sbintuitions/sarashina2.2-vision-3b")
GRANITE_SPEECH = Whole("GraniteSpeechForConditionalGeneration", "granite_speech", GRANITE, MULTIMODAL,
                       parts("encoder", "projector"), example="ibm-granite/granite-speech-3.3-2b")
GRANITE_SPEECH_PLUS = replace(GRANITE_SPEECH, name="GraniteSpeechPlusForConditionalGeneration",
                              model_type="granite_speech_plus", example="ibm-granite/granite-speech-4.1-2b-plus")


def deepstack_mapping(config: Config) -> list[int]:
    """For each block of text which of the projector's features are added in front of it; -1: none, as of the first, which takes
    its own for the embedding. UnsupportedError for a model that does not only attend: the runtime adds none there."""
    mixed = config["model_type"] == GRANITE_4_DENSE.model_type
    if mixed and (config["num_local_experts"] or not all(attention(config))):
        raise UnsupportedError("the runtime adds features between blocks of a Granite that only attends, without experts",
                               file="config.json", found=config.get("layer_types"))
    rank = {one.text: n for n, one in enumerate(injections(config))}
    return [rank.get(b) or -1 for b in range(config["num_hidden_layers"])]


def seeing(spec: ArchSpec, *model_types: str) -> Whole:
    """Granite 4 Vision around one of the language models."""
    text = replace(spec, hparams=(*spec.hparams, Computed("deepstack_mapping", deepstack_mapping)))
    return Whole(
        "Granite4VisionForConditionalGeneration", "granite4_vision", beside(text, *model_types), MULTIMODAL,
        {**parts("vision_tower", "layerwise_projectors", "spatial_projectors"), "model.image_newline": None},
        example="ibm-granite/granite-4.0-3b-vision")


GRANITE4_VISION = seeing(GRANITE, "granite", "granite4_vision_text")
GRANITE4_VISION_FUSED = seeing(GRANITE_4_DENSE, "granitemoehybrid")
PHI4V = Whole("Phi4ForCausalLMV", "phi4-siglip", PHI3, (), parts("vision_tower", "mm_projector"),
              example="microsoft/Phi-4-reasoning-vision-15B")
QWEN2_AUDIO = Whole("Qwen2AudioForConditionalGeneration", "qwen2_audio", QWEN2, MULTIMODAL, HEARING,
                    example="Qwen/Qwen2-Audio-7B-Instruct")
AUDIO_FLAMINGO3 = replace(QWEN2_AUDIO, name="AudioFlamingo3ForConditionalGeneration", model_type="audioflamingo3",
                          example="nvidia/audio-flamingo-3-hf")
LIGHTON_OCR = Whole("LightOnOcrForConditionalGeneration", "lighton_ocr", QWEN3, MULTIMODAL,
                    parts("vision_encoder", "vision_projection"), example="lightonai/LightOnOCR-1B-1025")
LIGHTON_OCR_OLD = replace(LIGHTON_OCR, name="LightOnOCRForConditionalGeneration")
DOTS_OCR = Whole("DotsOCRForCausalLM", "dots_ocr", QWEN2, (), parts("vision_tower"), example="rednote-hilab/dots.ocr")
STEP3_VL = Whole("StepVLForConditionalGeneration", "step_robotics", QWEN3, MULTIMODAL,
                 parts("vision_model", "vit_large_projector"), example="stepfun-ai/Step3-VL-10B")
PLAIN4 = {"hidden_size_per_layer_input": 0, "max_position_embeddings": 262144, "sliding_window": 1024}
GEMMA4_UNIFIED = Whole("Gemma4UnifiedForConditionalGeneration", "gemma4_unified", replace(
                           GEMMA4, defaults={**GEMMA4.defaults, **PLAIN4}), LANGUAGE_MODEL,
                       parts("vision_embedder", "audio_embedder", "embed_vision", "embed_audio"),
                       example="google/gemma-4-12B-it")
EXAONE4_5 = Whole("Exaone4_5_ForConditionalGeneration", "exaone4_5", EXAONE4, MULTIMODAL, parts("visual"),
                  example="LGAI-EXAONE/EXAONE-4.5-33B")

# Language models alone, whose classes transformers has under other names.
IQUEST = replace(LLAMA, classes=("IQuestCoderForCausalLM",), model_type="iquestcoder", headless=(),
                 example="IQuestLab/IQuest-Coder-V1-40B-Instruct")
KORMO = replace(
    QWEN2, classes=("KORMoForCausalLM",), model_type="kormo", headless=(), example="KORMo-Team/KORMo-10B-sft",
    hparams=DECODER, defaults=DEFAULTS,
    tensors=(
        *(row for row in QWEN2.tensors if row not in (*NORMS, *QKV_BIAS)),
        R("blk.{b}.attn_norm.weight", L + "pre_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "pre_mlp_layernorm.weight", shape="embedding_length")),
)

BACK = {"qwen2": choice(QWEN2, (KORMO, lacks("blk.0.attn_q.bias")))}
SPECS = (LLAVA, VOXTRAL, JANUS, IDEFICS3, SMOLVLM, VLLAMA3, SARASHINA2, GRANITE_SPEECH, GRANITE_SPEECH_PLUS, GRANITE4_VISION,
         GRANITE4_VISION_FUSED, PHI4V, QWEN2_AUDIO, AUDIO_FLAMINGO3, LIGHTON_OCR, LIGHTON_OCR_OLD, DOTS_OCR, STEP3_VL,
         GEMMA4_UNIFIED, EXAONE4_5, IQUEST, KORMO)
