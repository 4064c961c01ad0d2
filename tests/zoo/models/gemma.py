"""Gemma 1 to 3, and the embedder made of Gemma 3."""

# fmt: off
from dataclasses import replace

from .rows import DECODER, GELU, SCORE, THETA, TOKENS, TYPE, V4, Fault, Model

_GEMMA = DECODER | {"head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6}
_GEMMA3 = _GEMMA | {"num_hidden_layers": 6, "sliding_window": 8, "query_pre_attn_scalar": 24}
_GEMMA3_ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0}, "sliding_attention": THETA}
_GEMMA3_LINEAR = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0}, "sliding_attention": THETA}
_SIGLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 4,
           "vision_use_head": False}
_GEMMA3_V4 = V4(drop=("layer_types", "_sliding_window_pattern", "use_bidirectional_attention"), add={"sliding_window_pattern": 6})

# pieces that tokenizer.model calls user-defined, and tokens that no role names, become ordinary ones
_ORDINARY = Fault(keys=(TYPE, TOKENS))
_BYTES = Fault("takes the pieces of a Gemma tokenizer.json for byte-level tokens", model="gemma", keys=(SCORE, TYPE, TOKENS))

ROWS = (
    Model("gemma", "GemmaForCausalLM", "gemma", _GEMMA, zero_norms=True, v4=V4(drop=("layer_types",)), tolerance=GELU, fault=_ORDINARY),
    Model("gemma2", "Gemma2ForCausalLM", "gemma", _GEMMA | {"sliding_window": 8, "query_pre_attn_scalar": 32}, zero_norms=True,
          v4=V4(drop=("layer_types", "use_bidirectional_attention")), tolerance=GELU, fault=_ORDINARY),
    Model("gemma3", "Gemma3ForCausalLM", "gemma", _GEMMA3 | {"rope_parameters": _GEMMA3_ROPE, "query_pre_attn_scalar": 32}, zero_norms=True,
          v4=_GEMMA3_V4, tolerance=GELU, fault=_ORDINARY),
    Model("gemma3-json", "Gemma3ForCausalLM", "gemma-json", _GEMMA3 | {"rope_parameters": _GEMMA3_LINEAR, "query_pre_attn_scalar": 32},
          zero_norms=True, v4=replace(_GEMMA3_V4, fault=_BYTES), tolerance=GELU, fault=_BYTES),
    Model("gemma3-vl", "Gemma3ForConditionalGeneration", "gemma", {
        "text_config": _GEMMA3 | {"rope_parameters": _GEMMA3_LINEAR, "query_pre_attn_scalar": 32}, "vision_config": _SIGLIP,
        "mm_tokens_per_image": 4}, zero_norms=True,
          v4=replace(_GEMMA3_V4, rename=lambda name: name.replace("vision_tower.", "vision_tower.vision_model.")), tolerance=GELU, fault=_ORDINARY),
    Model("embeddinggemma", "Gemma3TextModel", "gemma", _GEMMA3 | {
        "rope_parameters": _GEMMA3_ROPE, "query_pre_attn_scalar": 32, "use_bidirectional_attention": True}, "float32", zero_norms=True,
        pooling="mean", dense=(128, 64), embeds=True, tolerance=GELU, fault=_ORDINARY),
)
