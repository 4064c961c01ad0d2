"""Models with the eyes of Granite 4 Vision."""

# fmt: off
from ..models.rows import THETA, Model
from . import HALF, TEXT, Tower, loaded, pixels
from .siglip import EYE


def _features(folder, picture):
    """What is added in front of each block of text, side by side: of the whole picture, and of its only tile."""
    import numpy as np
    import torch

    height, width = picture.shape[:2]
    with torch.inference_mode():
        out = loaded(folder).model.get_image_features(pixel_values=pixels(folder, picture)[None].expand(-1, 2, -1, -1, -1), image_sizes=torch.tensor([[height, width]]),
                                                      vision_feature_select_strategy="full")
    added = sorted(out.deepstack_features, key=lambda pair: pair[0])
    return np.concatenate([features[0].numpy() for _, features in added], axis=-1)


ROWS = (
    Tower(Model("granite4-eye", "Granite4VisionForConditionalGeneration", "llama3", {
        "text_config": TEXT | {"model_type": "granite4_vision_text", "num_hidden_layers": 6, "architectures": ["GraniteForCausalLM"], "rope_parameters": THETA,
                               "attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0},
        "vision_config": EYE | {"num_hidden_layers": 6, "model_type": "siglip_vision_model", "vision_use_head": False}, "qformer_config": {
            "model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 96, "cross_attention_frequency": 1,
            "use_qformer_text_input": False, "max_position_embeddings": 64, "vocab_size": 8},
        "deepstack_layer_map": [[-4, 3], [-1, 0]], "spatial_target_layers": [1, 2, 4, 5], "spatial_vision_layer": -2, "downsample_rate": "1/2",
        "image_grid_pinpoints": [[112, 112], [112, 224]], "vision_feature_select_strategy": "full", "image_seq_length": 16}), HALF,
        features=_features),
)
