"""Models with the towers of Step 3 VL and CogVLM."""

# fmt: off
from . import CLIP, Tower, blocks, both, seeing

_BLOCK = "vision_model.transformer.resblocks.{v}."
_STEP = blocks(_BLOCK, {"ln_1": (64,), "ln_2": (64,), "attn.out_proj": (64, 64), "mlp.c_fc": (96, 64), "mlp.c_proj": (64, 96)}) | {
    _BLOCK.format(v=v) + name: shape for v in range(4) for name, shape in {
        "attn.in_proj_weight": (192, 64), "attn.in_proj_bias": (192,), "ls_1.gamma": (64,), "ls_2.gamma": (64,)}.items()} | both("vision_model.", {
    "ln_pre": (64,), "vit_downsampler1": (128, 64, 3, 3), "vit_downsampler2": (256, 128, 3, 3)}) | {
    "vision_model.conv1.weight": (64, 3, 14, 14), "vision_model.positional_embedding": (64, 64), "vit_large_projector.weight": (64, 256)}
_VISION = "model.vision."
_COG = blocks(_VISION + "transformer.layers.{v}.", {
    "input_layernorm": (64,), "post_attention_layernorm": (64,), "attention.query_key_value": (192, 64), "attention.dense": (64, 64),
    "mlp.fc1": (96, 64), "mlp.fc2": (64, 96)}) | both(_VISION, {"patch_embedding.proj": (64, 3, 14, 14), "linear_proj.norm1": (64,)}) | both(
    _VISION + "linear_proj.", {"linear_proj": (64, 64), "gate_proj": (96, 64), "dense_h_to_4h": (96, 64), "dense_4h_to_h": (64, 96)}, bias=False) | {
    _VISION + "patch_embedding.cls_embedding": (1, 64), _VISION + "patch_embedding.position_embedding.weight": (65, 64),
    _VISION + "boi": (1, 1, 64), _VISION + "eoi": (1, 1, 64)}

ROWS = (
    Tower(seeing("step3-vl-eye", "step3-vl", {"understand_projector_stride": 2, "vision_config": {
        "width": 64, "layers": 4, "heads": 4, "image_size": 112, "patch_size": 14, "mlp_ratio": 1.5, "hidden_act": "quick_gelu"}},
        _STEP, "vision_model.", "vit_large_projector."), CLIP, fault="takes the 10 B model's sizes only", hopeless=True,
        runtime="takes the 10 B model's sizes only"),
    Tower(seeing("cogvlm-eye", "cogvlm", {"num_key_value_heads": 4, "vision_config": {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_heads": 4, "image_size": 112, "patch_size": 14,
        "layer_norm_eps": 1e-6}}, _COG, "model.vision."), CLIP),
)
