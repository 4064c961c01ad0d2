"""Models with a tower of Qwen2-VL or its kin."""

# fmt: off
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower, blocks, both, features, seeing

_MROPE = THETA | {"rope_theta": 1000000.0, "mrope_section": [4, 2, 2]}
_EYE = {"depth": 4, "embed_dim": 64, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 2, "patch_size": 14}

_LING = blocks("model.visual.blocks.{v}.", {
    "norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64), "mlp.linear_fc1": (96, 64), "mlp.linear_fc2": (64, 96)}) | both(
    "model.visual.", {"patch_embed.proj": (64, 3, 2, 16, 16), "merger.norm": (64,)}) | {"model.visual.pos_embed.weight": (64, 64)} | both(
    "linear_proj.", {"0": (256, 256), "2": (64, 256)})

ROWS = (
    Tower(seeing("bailing3-vl-eye", "bailing3-vl", {"vision_config": {
        "model_type": "bailing_moe_v3_vl_vision", "depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "patch_size": 16,
        "num_position_embeddings": 64, "spatial_merge_size": 2, "out_hidden_size": 64, "disable_merger_proj": True}},
        _LING, "model.visual.", "visual.", "linear_proj.", "model.linear_proj."), CLIP),
    Tower(Model("qwen2vl-eye", "Qwen2VLForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"rope_parameters": _MROPE}, "vision_config": _EYE}), CLIP, size=(140, 84), features=features.windows),
    Tower(Model("exaone4-5-eye", "Exaone4_5_ForConditionalGeneration", "llama3", {
        "text_config": TEXT | {"model_type": "exaone4", "sliding_window": 8, "sliding_window_pattern": "LLLG", "layer_types": ["full_attention"]},
        "vision_config": {"depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "num_key_value_heads": 2, "out_hidden_size": 64,
                          "patch_size": 14, "fullatt_block_indexes": [1, 3]}, "tie_word_embeddings": False}),
          CLIP | {"min_pixels": 3136, "max_pixels": 12845056}, size=(140, 84), features=features.windows),
)
