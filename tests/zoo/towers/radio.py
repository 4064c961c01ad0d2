"""Models with RADIO's tower, as small as llama.cpp's converter has none of."""

# fmt: off
from . import CLIP, Tower, blocks, both, seeing

_RADIO = "vision_model.radio_model."
_P = _RADIO + "model.patch_generator."
_SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_layers": 4, "num_heads": 4}
_TOWER = blocks(_RADIO + "model.blocks.{v}.", {
    "norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64), "mlp.fc1": (96, 64), "mlp.fc2": (64, 96)}) | {
    _P + "cls_token.token": (10, 64), _P + "embedder.weight": (64, 768), _P + "pos_embed": (1, 256, 64), _P + "video_embedder.weight": (64, 1536),
    _RADIO + "input_conditioner.norm_mean": (3, 1, 1), _RADIO + "input_conditioner.norm_std": (3, 1, 1)} | both("mlp1.", {
    "0": (256,), "1": (96, 256), "3": (64, 96)}, bias=False)

ROWS = (
    Tower(seeing("nemotron-vl-eye", "nemotron-vl", {
        "force_image_size": 128, "downsample_ratio": 0.5, "vit_hidden_size": 64, "projector_hidden_size": 96, "ps_version": "v2", "vision_config": {
            "patch_size": 16, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4}},
        _TOWER, "vision_model.", "mlp1."), CLIP, cropped=(_P + "pos_embed", _P + "video_embedder", _RADIO + "input_conditioner"), size=(128, 128),
        built_in={f"NemotronNanoV2VLModel._vit_{name}": n for name, n in _SIZES.items()}),
)
