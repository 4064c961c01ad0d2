"""Muse Glimmer."""

# fmt: off
from typing import Any

from .rows import DECODER, LLAMA_NAMES, L, Model, Shapes, tensors, without

_A, _WIDE, _NARROW = L + "self_attn.", "num_attention_heads*head_dim", "num_key_value_heads*head_dim"
_MUSE = DECODER | {
    "model_type": "muse_glimmer_text", "vocab_size": 425, "num_hidden_layers": 4, "head_dim": 16, "sliding_window": 16,
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"], "layer_rope_theta": [0, 10000.0, 10000.0, 0],
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "final_logit_softcapping": 20.0, "qk_scale_factor": 3.87,
    "output_multiplier": 0.19611613513818404, "post_norm_eps": 1e-8, "hidden_activation": "silu", "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "attention_bias": False}
_TEXT = tensors(without(LLAMA_NAMES, "self_attn", "lm_head") | {
    **{f"{L}{n}_feedforward_layernorm.weight": "hidden_size" for n in ("pre", "post")},
    _A + "q_proj.weight": f"{_WIDE} hidden_size", _A + "k_proj.weight": f"{_NARROW} hidden_size", _A + "v_proj.weight": f"{_NARROW} hidden_size",
    _A + "gate_proj.weight": f"{_WIDE} hidden_size", _A + "o_proj.weight": f"hidden_size {_WIDE}"})


def _shapes(config: dict[str, Any]) -> Shapes:
    config = config | config["text_config"]
    text = {name.replace("model.", "model.language_model.", 1): shape for name, shape in _TEXT(config).items()}
    return text | {"lm_head.weight": (config["vocab_size"], 64), "model.vision_adapter.fc1.weight": (32, 32)}


ROWS = (
    Model("muse", "MuseGlimmerForConditionalGeneration", "llama4", {"model_type": "muse_glimmer", "text_config": _MUSE, "vision_config": {}},
          shapes=_shapes),
)
