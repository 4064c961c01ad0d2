"""Models with the tower of MiniCPM-V 4.6."""

# fmt: off
from ..models.qwen35 import _QWEN35
from ..models.rows import Model
from . import HALF, Tower
from .siglip import EYE

ROWS = (
    Tower(Model("minicpmv-eye", "MiniCPMV4_6ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35 | {"num_hidden_layers": 4}, "vision_config": EYE | {"insert_layer_id": 1}, "insert_layer_id": 1,
        "tie_word_embeddings": True}, zero_norms=True), HALF | {"scale_resolution": 112}),
)
