"""Models with the tower of MiniCPM-V 4.6."""

# fmt: off
from ..models.qwen35 import _QWEN35
from ..models.rows import Model
from . import HALF, Tower, features, loaded, pixels
from .siglip import EYE


def _features(folder, picture):
    """Of patches side by side in one row."""
    import torch

    x = pixels(folder, picture)[0]
    height, width = x.shape[1] // 14, x.shape[2] // 14
    x = x.reshape(3, height, 14, width, 14).permute(0, 2, 1, 3, 4).reshape(1, 3, 14, -1)
    return features.seen(loaded(folder), pixel_values=x, target_sizes=torch.tensor([[height, width]]))


ROWS = (
    Tower(Model("minicpmv-eye", "MiniCPMV4_6ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35 | {"num_hidden_layers": 4}, "vision_config": EYE | {"insert_layer_id": 1, "image_size": 980}, "insert_layer_id": 1,
        "tie_word_embeddings": True}, zero_norms=True), HALF | {"scale_resolution": 112}, features=_features),
)
