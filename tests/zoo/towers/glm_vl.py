"""Models with a tower of GLM-V."""

# fmt: off
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower

_SECTIONS = THETA | {"partial_rotary_factor": 0.5, "mrope_section": [4, 2, 2]}
_EYE = {"depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "image_size": 112, "patch_size": 14, "out_hidden_size": 64}

ROWS = (
    Tower(Model("glm4v-eye", "Glm4vForConditionalGeneration", "glm4", {
        "text_config": TEXT | {"rope_parameters": _SECTIONS}, "vision_config": _EYE, "tie_word_embeddings": False}), CLIP),
    Tower(Model("glmocr-eye", "GlmOcrForConditionalGeneration", "glm4", {
        "text_config": TEXT | {"head_dim": 16, "rope_parameters": _SECTIONS}, "vision_config": _EYE, "tie_word_embeddings": False}), CLIP),
)
