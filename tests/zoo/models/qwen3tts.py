"""Qwen3-TTS: its talker, whose text goes through two layers into the embedding, with a tensor of each other part."""

# fmt: off
from typing import Any

from .rows import DECODER, LLAMA_NAMES, Fault, Model, Shapes, tensors, without

CODES = 3072
TALKER = DECODER | {
    "model_type": "qwen3_tts_talker", "head_dim": 32, "hidden_act": "silu", "rms_norm_eps": 1e-6, "attention_bias": False, "use_sliding_window": False,
    "rope_theta": 1000000, "rope_scaling": {"interleaved": True, "mrope_section": [8, 4, 4], "rope_type": "default", "type": "default"},
    "vocab_size": CODES, "text_vocab_size": 440, "text_hidden_size": 48, "num_code_groups": 16, "codec_bos_id": 2149, "codec_eos_token_id": 2150, "codec_think_id": 2154,
    "codec_nothink_id": 2155, "codec_think_bos_id": 2156, "codec_think_eos_id": 2157, "codec_pad_id": 2148,
    "codec_language_id": {"chinese": 2055, "english": 2050}, "spk_id": {"vivian": 3065, "uncle_fu": 3010}, "pad_token_id": None}
_T = "talker.model."
_WORDS = tensors({
    **{name.replace("model.", _T): shape.replace("(hidden_size//num_attention_heads)", "head_dim")
       for name, shape in without(LLAMA_NAMES, "embed_tokens", "lm_head").items()},
    **{f"{_T}layers.{{b}}.self_attn.{x}_norm.weight": "head_dim" for x in "qk"},
    "talker.codec_head.weight": "vocab_size hidden_size", _T + "codec_embedding.weight": "vocab_size hidden_size",
    _T + "text_embedding.weight": "text_vocab_size text_hidden_size",
    "talker.text_projection.linear_fc1.weight": "text_hidden_size text_hidden_size", "talker.text_projection.linear_fc1.bias": "text_hidden_size",
    "talker.text_projection.linear_fc2.weight": "hidden_size text_hidden_size", "talker.text_projection.linear_fc2.bias": "hidden_size"})


def words(config: dict[str, Any]) -> Shapes:
    return _WORDS(config["talker_config"]) | {"talker.code_predictor.model.norm.weight": (32,), "speaker_encoder.fc.bias": (64,)}


# llama.cpp folds by torch's float32 product, whose sums depend on the processor, and writes the tokenizer's EOS over that of the codes
_FAULT = Fault(keys=("token_embd.weight", "tokenizer.ggml.eos_token_id"))
_LOST = "the text projection is not told by the embedding that it is folded into"
ROWS = (Model("qwen3tts", "Qwen3TTSForConditionalGeneration", "qwen2", {"model_type": "qwen3_tts", "talker_config": TALKER}, shapes=words,
              vocab_keys=(), fault=_FAULT, lost=_LOST,
              embeds=True),)  # of text the runtime makes no logits: -inf
