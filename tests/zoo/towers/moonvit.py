"""Models with a tower of MoonViT."""

# fmt: off
from . import HALF, Tower, blocks, both, seeing

_TOWER = blocks("vision_tower.encoder.blocks.{v}.", {
    "norm0": (64,), "norm1": (64,), "wqkv": (192, 64), "wo": (64, 64), "mlp.fc0": (96, 64), "mlp.fc1": (64, 96)}) | both("vision_tower.", {
    "patch_embed.proj": (64, 3, 14, 14), "encoder.final_layernorm": (64,)}) | {"vision_tower.patch_embed.pos_emb.weight": (64, 64, 64)}

ROWS = (
    Tower(seeing("kimivl-eye", "kimivl", {"vision_config": {
        "model_type": "moonvit", "patch_size": 14, "init_pos_emb_height": 64, "init_pos_emb_width": 64, "num_attention_heads": 4,
        "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96, "merge_kernel_size": [2, 2]}},
        _TOWER | both("multi_modal_projector.", {"pre_norm": (64,), "linear_1": (256, 256), "linear_2": (64, 256)}),
        "vision_tower.", "multi_modal_projector."), HALF),
)
