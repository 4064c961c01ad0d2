"""Models with a tower of GLM-V."""

# fmt: off
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower, blocks, both, features, seeing

_SECTIONS = THETA | {"partial_rotary_factor": 0.5, "mrope_section": [4, 2, 2]}
_EYE = {"depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "image_size": 112, "patch_size": 14, "out_hidden_size": 64}

_W = (64, 64)
_NEXT = blocks("model.visual.blocks.{v}.", {
    "norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": _W, "attn.q_norm": (16,), "attn.k_norm": (16,), "mlp.gate_proj": (96, 64),
    "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96)}, bias=False) | both("model.visual.", {
    "patch_embed.proj": (64, 3, 2, 14, 14), "downsample": (64, 64, 2, 2), "merger.post_projection_norm": (64,)}) | both("model.visual.", {
    "post_layernorm": (64,), "merger.proj": _W, "merger.gate_proj": (96, 64), "merger.up_proj": (96, 64), "merger.down_proj": (64, 96)}, bias=False)

ROWS = (
    Tower(seeing("glm5-next-eye", "glm5-next", {"vision_config": {
        "model_type": "glm5_next_vision", "depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "image_size": 112, "patch_size": 14,
        "out_hidden_size": 64, "spatial_merge_size": 2, "rms_norm_eps": 1e-5, "hidden_act": "silu", "swiglu_limit": 7.0}},
        _NEXT, "model.visual.", "visual."), CLIP | {"min_image_tokens": 4, "max_image_tokens": 64, "patch_size": 14, "merge_size": 2}),
    Tower(Model("glm4v-eye", "Glm4vForConditionalGeneration", "glm4", {
        "text_config": TEXT | {"rope_parameters": _SECTIONS}, "vision_config": _EYE, "tie_word_embeddings": False}), CLIP, size=(140, 84),
          features=features.windows),
    Tower(Model("glmocr-eye", "GlmOcrForConditionalGeneration", "glm4", {
        "text_config": TEXT | {"head_dim": 16, "rope_parameters": _SECTIONS}, "vision_config": _EYE, "tie_word_embeddings": False}), CLIP,
          size=(140, 84), features=features.windows),
)
