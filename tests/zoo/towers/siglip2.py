"""Models with a tower of SigLIP 2, and Janus."""

# fmt: off
from ..models.rows import DECODER, THETA, Model
from . import HALF, TEXT, Tower, blocks, both, features, loaded, pixels, seeing
from .siglip import EYE

_LLAMA = TEXT | {"model_type": "llama", "head_dim": 16, "rope_parameters": THETA}
_PIXELS = {"min_pixels": 3136, "max_pixels": 12544}
_W = (64, 64)
_BLOCK = {"layer_norm1": (64,), "layer_norm2": (64,), "mlp.fc1": (96, 64), "mlp.fc2": (64, 96),
          **{f"self_attn.{x}": _W for x in ("q_proj", "k_proj", "v_proj", "out_proj")}}
_YOUTU = blocks("siglip2.vision_model.encoder.layers.{v}.", _BLOCK) | both("siglip2.vision_model.", {
    "post_layernorm": (64,), "embeddings.patch_embedding": (64, 588)}) | both("merger.", {"mlp.0": (256, 256), "mlp.2": (64, 256)}) | {
    "merger.ln_q.weight": (64,)}

_VISION = "model.vision_tower.vision_tower.vision_model."
_PHI4 = blocks(_VISION + "encoder.layers.{v}.", _BLOCK, count=5) | both(_VISION, {
    "post_layernorm": (64,), "embeddings.patch_embedding": (64, 768)}) | {_VISION + "embeddings.position_embedding.weight": (64, 64)} | both(
    "model.mm_projector.", {"0": (64, 64), "2": (64, 64)})


def _phi4(folder, picture):
    """Of transformers' tower, whose features in front of the last block the model's own class projects."""
    import json

    import torch
    from safetensors.torch import load_file
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    said = json.loads((folder / "config.json").read_text())["vision_config"]
    model = Siglip2VisionModel(Siglip2VisionConfig(**{k: v for k, v in said.items() if k != "model_type"}, vision_use_head=False)).eval()
    held = {name: x.float() for name, x in load_file(folder / "model.safetensors").items()}
    named = {name.removeprefix(_VISION): x for name, x in held.items() if name.startswith(_VISION)}
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in model.state_dict()) else ""
    missing, extra = model.load_state_dict({prefix + name: x for name, x in named.items()}, strict=False)
    assert not extra
    assert all("layers.4." in name or "post_layernorm" in name for name in missing)
    height, width = (side // 16 for side in picture.shape[:2])
    x = pixels(folder, picture)[0].reshape(3, height, 16, width, 16).permute(1, 3, 2, 4, 0).reshape(1, height * width, -1)
    with torch.inference_mode():
        seen = model(pixel_values=x, pixel_attention_mask=torch.ones(1, height * width, dtype=torch.long), spatial_shapes=torch.tensor([[height, width]]),
                     output_hidden_states=True).hidden_states[-2][0]
        linear = torch.nn.functional.linear
        seen = linear(seen, held["model.mm_projector.0.weight"], held["model.mm_projector.0.bias"])
        return linear(torch.nn.functional.gelu(seen), held["model.mm_projector.2.weight"], held["model.mm_projector.2.bias"]).numpy()



def _lfm2(folder, picture):
    import torch

    x, height, width = features.patches(folder, picture, 16, last=True)
    return features.seen(loaded(folder), pixel_values=x[None], spatial_shapes=torch.tensor([[height, width]]),
                         pixel_attention_mask=torch.ones(1, len(x), dtype=torch.long))


def _paddle(folder, picture):
    import torch

    x, height, width = features.patches(folder, picture, 14)
    return features.seen(loaded(folder), pixel_values=x.reshape(-1, 3, 14, 14), image_grid_thw=torch.tensor([[1, height, width]]))


def _janus(folder, picture):
    return features.seen(loaded(folder).model, pixel_values=pixels(folder, picture))


ROWS = (
    Tower(Model("lfm2vl-eye", "Lfm2VlForConditionalGeneration", "gpt2", {
        "text_config": DECODER | {"model_type": "lfm2", "num_hidden_layers": 2, "block_multiple_of": 32, "layer_types": ["conv", "full_attention"],
                                  "rope_parameters": THETA, "architectures": ["Lfm2ForCausalLM"]},
        "vision_config": {k: v for k, v in EYE.items() if k != "image_size"} | {
            "model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 64, "vision_use_head": False},
        "downsample_factor": 2, "projector_hidden_size": 96}), HALF, fault="does not know the names that transformers 5 saves", hopeless=True,
          size=(256, 256), features=_lfm2, tolerance=3e-3),  # the table of positions is resampled
    Tower(seeing("youtuvl-eye", "youtuvl", {"vision_config": EYE | {
        "model_type": "siglip2_vision_model", "hidden_act": "gelu_pytorch_tanh", "window_size": 112, "fullatt_block_indexes": [1, 3]}},
        _YOUTU, "siglip2.", "merger."), HALF),
    Tower(Model("paddleocr-eye", "PaddleOCRVLForConditionalGeneration", "llama-spm", {
        "text_config": TEXT | {"model_type": "paddleocr_vl_text", "head_dim": 16, "rope_parameters": THETA | {
            "rope_theta": 500000.0, "mrope_section": [4, 2, 2]}},
        "vision_config": EYE | {"architectures": ["PaddleOCRVisionModel"]}}), HALF | _PIXELS, features=_paddle),
    Tower(seeing("phi4-eye", "phi4v", {"vision_config": {k: v for k, v in EYE.items() if k != "image_size"} | {
        "num_hidden_layers": 5, "patch_size": 16, "num_patches": 64, "hidden_act": "gelu_pytorch_tanh"}}, _PHI4, "model.vision_tower.", "model.mm_projector."),
        HALF | {"patch_size": 16, "min_num_patches": 16, "max_num_patches": 64}, cropped=("model.vision_tower.vision_tower.vision_model.encoder.layers.4.",),
        size=(128, 96), features=_phi4),
    Tower(Model("janus-eye", "JanusForConditionalGeneration", "llama3", {
        "text_config": _LLAMA, "vision_config": {k: v for k, v in EYE.items() if k != "intermediate_size"} | {
            "mlp_ratio": 2.0, "projection_dim": 64, "num_image_tokens": 64},
        "vq_config": {"embed_dim": 4, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "channel_multiplier": [1, 1],
                      "num_res_blocks": 1, "num_patches": 4, "projection_dim": 64, "image_token_embed_dim": 64},
        "tie_word_embeddings": False}), HALF, lost=("model.vqmodel.", "model.generation_"), features=_janus),
)
