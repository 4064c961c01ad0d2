"""Models with SAM's tower in front of CLIP's."""

# fmt: off
from . import HALF, Tower, blocks, both, seeing

_WIDTH = {"clip-l-14-224": {"heads": 4, "image_size": 112, "layers": 4, "patch_size": 14, "width": 64},
          "sam_vit_b": {"downsample_channels": [32, 64], "global_attn_indexes": [], "heads": 2, "layers": 2, "width": 32}}
_SAM = "model.sam_model."
_BOTH = blocks(_SAM + "blocks.{v}.", {"norm1": (32,), "norm2": (32,), "attn.qkv": (96, 32), "attn.proj": (32, 32), "mlp.lin1": (64, 32),
                                      "mlp.lin2": (32, 64)}, count=2) | both(_SAM, {"patch_embed.proj": (32, 3, 16, 16), "neck.1": (16,), "neck.3": (16,)}) | {
    _SAM + "pos_embed": (1, 64, 64, 32), _SAM + "neck.0.weight": (16, 32, 1, 1), _SAM + "neck.2.weight": (16, 16, 3, 3),
    _SAM + "net_2.weight": (32, 16, 3, 3), _SAM + "net_3.weight": (64, 32, 3, 3),
    **{f"{_SAM}blocks.{m}.attn.rel_pos_{x}": (27, 16) for m in range(2) for x in "hw"}}
_EYE = "model.vision_model."
_BOTH |= blocks(_EYE + "transformer.layers.{v}.", {
    "layer_norm1": (64,), "layer_norm2": (64,), "self_attn.qkv_proj": (192, 64), "self_attn.out_proj": (64, 64), "mlp.fc1": (96, 64),
    "mlp.fc2": (64, 96)}) | both(_EYE, {"pre_layrnorm": (64,)}) | {
    _EYE + "embeddings.class_embedding": (64,), _EYE + "embeddings.patch_embedding.weight": (64, 3, 14, 14),
    _EYE + "embeddings.position_embedding.weight": (65, 64)} | both("model.projector.", {"layers": (64, 128)}) | {
    "model.image_newline": (64,), "model.view_seperator": (64,)}
_PARTS = (_SAM, _EYE, "model.projector.", "model.image_newline", "model.view_seperator")
_SIZES = "reads images of 1024 pixels only, for which the tiny tables are too small"

_QWEN2 = "model.qwen2_model."
_TWO = {"image_size": 1024, "width": {"qwen2-0-5b": {"dim": 64}, "sam_vit_b": _WIDTH["sam_vit_b"]}, "layers": 4, "intermediate_size": 96,
        "num_attention_heads": 4, "model_type": "vision"}
_ENCODER = {name: shape for name, shape in _BOTH.items() if name.startswith((_SAM, "model.view"))} | blocks(
    _QWEN2 + "model.model.layers.{v}.", {"self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64)}) | blocks(
    _QWEN2 + "model.model.layers.{v}.", {"input_layernorm": (64,), "post_attention_layernorm": (64,), "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96)}, bias=False) | {
    _QWEN2 + "model.model.norm.weight": (64,), _QWEN2 + "query_768.weight": (144, 64), _QWEN2 + "query_1024.weight": (256, 64)} | both(
    "model.projector.", {"layers": (64, 64)})

ROWS = (Tower(seeing("deepseek-ocr2-eye", "deepseek-ocr2", {"vision_config": _TWO}, _ENCODER, *_PARTS), HALF, runtime=_SIZES), *(
    Tower(seeing(f"{name}-eye", name, {"vision_config": {"model_type": "vision", "image_size": 1024, "width": _WIDTH}}, _BOTH, *_PARTS), HALF,
          runtime=_SIZES)
    for name in ("deepseek-ocr", "unlimited-ocr")))
