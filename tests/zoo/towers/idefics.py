"""Models with a tower of SigLIP whose patches are shuffled into fewer tokens."""

# fmt: off
from ..models.rows import Model
from . import HALF, TEXT, Tower, features, loaded, pixels
from .siglip import EYE

_WIDE = TEXT | {"model_type": "llama"}


def _tiles(folder, picture):
    """Of each tile of 112 pixels, and of the whole picture; that is not told where the runtime makes it smaller."""
    import numpy as np

    x, side = pixels(folder, picture), 112
    down, across = x.shape[2] // side, x.shape[3] // side
    tiles = x.reshape(3, down, side, across, side).permute(1, 3, 0, 2, 4).reshape(1, -1, 3, side, side)
    made = features.seen(loaded(folder), pixel_values=tiles)
    own = made[: len(made) // tiles.shape[1]]
    return np.concatenate([made, own if tiles.shape[1] == 1 else np.full_like(own, np.nan)])


ROWS = (
    Tower(Model("idefics3-eye", "Idefics3ForConditionalGeneration", "smollm", {
        "text_config": _WIDE | {"architectures": ["VLlama3ForCausalLM"]}, "scale_factor": 2, "tie_word_embeddings": False,
        "vision_config": EYE | {"model_type": "idefics3_vision"}}), HALF | {"size": {"longest_edge": 224}},
          size=(224, 224), features=_tiles),
    Tower(Model("smolvlm-eye", "SmolVLMForConditionalGeneration", "llama3", {
        "text_config": _WIDE | {"architectures": ["LlamaForCausalLM"]}, "scale_factor": 4, "tie_word_embeddings": False,
        "vision_config": EYE | {"model_type": "smolvlm_vision"}}), HALF, features=_tiles),
)
