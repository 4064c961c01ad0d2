"""Models with a tower of Qwen."""

# fmt: off
from ..models.qwen4exp import _TEXT as _QWEN4EXP
from ..models.qwen4exp import numbers
from ..models.qwen35 import _QWEN35
from ..models.rows import THETA, Model
from . import CLIP, HALF, TEXT, Tower, frames, loaded

_EYE = {"depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "out_hidden_size": 64, "patch_size": 14}
_MROPE = THETA | {"rope_theta": 1000000.0, "mrope_section": [4, 2, 2]}
_QWEN3 = TEXT | {"head_dim": 32, "rope_parameters": THETA | {"mrope_section": [8, 4, 4], "mrope_interleaved": True}}

def _features(folder, picture):
    """The merged features, and behind each those of the blocks that Qwen3-VL takes besides."""
    import numpy as np
    import torch

    patches, grid = frames(folder, picture)
    with torch.inference_mode():
        out = loaded(folder).get_image_features(pixel_values=patches, image_grid_thw=grid)
    merged = out.pooler_output
    merged = torch.cat(tuple(merged)) if isinstance(merged, (tuple, list)) else merged
    return np.concatenate([merged.numpy(), *(torch.cat(tuple(deep)).numpy() for deep in getattr(out, "deepstack_features", None) or ())],
                          axis=-1)


ROWS = (
    Tower(Model("qwen25vl-eye", "Qwen2_5_VLForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"rope_parameters": _MROPE}, "vision_config": _EYE | {"fullatt_block_indexes": [1, 3]}}), CLIP, size=(140, 84), features=_features),
    Tower(Model("qwen3vl-eye", "Qwen3VLForConditionalGeneration", "qwen2", {
        "text_config": _QWEN3, "vision_config": _EYE | {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [1, 2]}}), HALF, size=(128, 96), features=_features),
    Tower(Model("qwen35-eye", "Qwen3_5ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35 | {"num_hidden_layers": 1, "layer_types": ["full_attention"]}, "vision_config": _EYE | {"patch_size": 16, "num_position_embeddings": 64}},
          zero_norms=True), HALF, size=(128, 96), features=_features),
    Tower(Model("qwen4exp-eye", "Qwen4ExpForConditionalGeneration", "qwen35", {
        "text_config": _QWEN4EXP | {"split_ngram_parts": 1}, "vision_config": _EYE | {"patch_size": 16, "num_position_embeddings": 64}},
          zero_norms=True, layout="fused", values=numbers("model.language_model.")), HALF, size=(128, 96), features=_features),
)
