"""Models with a tower of Qwen2-VL or its kin."""

# fmt: off
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower

_MROPE = THETA | {"rope_theta": 1000000.0, "mrope_section": [4, 2, 2]}
_EYE = {"depth": 4, "embed_dim": 64, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 2, "patch_size": 14}

ROWS = (
    Tower(Model("qwen2vl-eye", "Qwen2VLForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"rope_parameters": _MROPE}, "vision_config": _EYE}), CLIP),
    Tower(Model("exaone4-5-eye", "Exaone4_5_ForConditionalGeneration", "llama3", {
        "text_config": TEXT | {"model_type": "exaone4", "sliding_window": 8, "sliding_window_pattern": "LLLG", "layer_types": ["full_attention"]},
        "vision_config": {"depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "num_key_value_heads": 2, "out_hidden_size": 64,
                          "patch_size": 14, "fullatt_block_indexes": [1, 3]}, "tie_word_embeddings": False}),
          CLIP | {"min_pixels": 3136, "max_pixels": 12845056}),
)
