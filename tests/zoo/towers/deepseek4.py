"""The tower of DeepSeek V4 Flash Vision."""

# fmt: off
from . import Tower, blocks, both, seeing

_V = "vision."
_PARTS = (_V, "aligner.", "image_")
_TOWER = blocks(_V + "blocks.{v}.", {
    "norm1": (64,), "norm2": (64,), "attn.wqkv": (192, 64), "attn.wo": (64, 64), "mlp.w1": (192, 64), "mlp.w2": (64, 96)}, bias=False) | {
    _V + "patch_embed.proj.weight": (64, 588), _V + "patch_embed.proj.bias": (64,), _V + "norm.weight": (64,)} | both("aligner.", {
    "w1": (96, 576), "w2": (64, 96)}) | {f"image_{end}": (64,) for end in ("newline", "start", "end", "pad")}

ROWS = (
    Tower(seeing("deepseek4-eye", "deepseek4-vision", {
        "vision_n_layers": 4, "vision_dim": 64, "vision_n_heads": 4, "vision_inter_dim": 96, "vision_patch_size": 14, "vision_downsample_ratio": 3,
        "vision_min_pixels": 3136, "vision_max_n_token": 384, "vision_max_wh_ratio": 8}, _TOWER, *_PARTS), {}),
)
