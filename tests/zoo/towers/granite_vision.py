"""Models with the eyes of Granite 4 Vision."""

# fmt: off
from ..models.rows import THETA, Model
from . import HALF, TEXT, Tower, blocks, both, loaded, pixels, seeing
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


_SIGLIP = EYE | {"num_hidden_layers": 6, "model_type": "siglip_vision_model", "vision_use_head": False}
_QFORMER = {"model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 96, "cross_attention_frequency": 1,
            "use_qformer_text_input": False, "max_position_embeddings": 64, "vocab_size": 8}
_PLACES = {"deepstack_layer_map": [[-4, 3], [-1, 0]], "spatial_target_layers": [1, 2, 4, 5], "spatial_vision_layer": -2, "downsample_rate": "1/2",
           "image_grid_pinpoints": [[112, 112], [112, 224]], "vision_feature_select_strategy": "full", "image_seq_length": 16}

# The same eyes under the Hub's names.
_V, _Q = "model.vision_tower.vision_model.", "qformer.encoder.layer.0."
_QUERYING = {
    "out_linear": (64, 64), "norm": (64,), "qformer.layernorm": (64,), _Q + "intermediate_query.dense": (96, 64), _Q + "output_query.dense": (64, 96),
    _Q + "output_query.LayerNorm": (64,), **{f"{_Q}{part}.{name}": shape for part in ("attention", "crossattention") for name, shape in {
        "attention.query": (64, 64), "attention.key": (64, 64), "attention.value": (64, 64), "output.dense": (64, 64),
        "output.LayerNorm": (64,)}.items()}}
_HUB = blocks(_V + "encoder.layers.{v}.", {
    "layer_norm1": (64,), "layer_norm2": (64,), **{f"self_attn.{x}_proj": (64, 64) for x in ("q", "k", "v", "out")}, "mlp.fc1": (96, 64),
    "mlp.fc2": (64, 96)}, count=6) | both(_V, {"embeddings.patch_embedding": (64, 3, 14, 14), "post_layernorm": (64,)}) | {
    _V + "embeddings.position_embedding.weight": (64, 64), "model.image_newline": (64,)} | {
    key: shape for one in ("layerwise_projectors.0.", "layerwise_projectors.1.", *(f"spatial_projectors.{n}." for n in range(4)))
    for key, shape in {f"model.{one}query": (1, 1, 64), f"model.{one}image_positions": (1, 4, 64), **both("model." + one, _QUERYING)}.items()}

ROWS = (
    Tower(Model("granite4-eye", "Granite4VisionForConditionalGeneration", "llama3", {
        "text_config": TEXT | {"model_type": "granite4_vision_text", "num_hidden_layers": 6, "architectures": ["GraniteForCausalLM"], "rope_parameters": THETA,
                               "attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0},
        "vision_config": _SIGLIP, "qformer_config": _QFORMER, **_PLACES}), HALF, features=_features),
    Tower(seeing("granite4-fused-eye", "granite4-vision-fused", {"vision_config": _SIGLIP, "qformer_config": _QFORMER, **_PLACES}, _HUB, "model.image_newline"),
          HALF),
)
