"""Models with the tower of MiniMax-M3."""

# fmt: off
from ..models.minimax import _M3_FIVE
from . import CLIP, Tower, blocks, both, seeing
from .qwen_vl import _features

_EYE = {"hidden_size": 160, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 112, "patch_size": 14,
        "layer_norm_eps": 1e-5, "img_token_compression_config": {"image_token_compression_method": "patch_merge", "spatial_merge_size": 2,
                                                                 "temporal_patch_size": 2}}
_W, _V = (160, 160), "vision_tower.vision_model."
_TOWER = blocks(_V + "encoder.layers.{v}.", {
    "layer_norm1": (160,), "layer_norm2": (160,), **{f"self_attn.{x}": _W for x in ("q_proj", "k_proj", "v_proj", "out_proj")}, "mlp.fc1": (96, 160),
    "mlp.fc2": (160, 96)}) | both(_V, {"pre_layrnorm": (160,)}) | {_V + "embeddings.patch_embedding.weight": (160, 3, 2, 14, 14)} | both(
    "multi_modal_projector.", {"linear_1": (96, 160), "linear_2": (64, 96)}) | both("patch_merge_mlp.", {"linear_1": (96, 256), "linear_2": (64, 96)})

ROWS = (
    Tower(seeing("minimax-m3-eye", "minimax-m3-vl", {"text_config": _M3_FIVE | {"vocab_size": 425}, "vision_config": _EYE, "projector_hidden_size": 96, "merged_hidden_size": 256}, _TOWER,
                 "vision_tower.", "multi_modal_projector.", "patch_merge_mlp."), CLIP, size=(140, 112), features=_features),
)
