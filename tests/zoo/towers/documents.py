"""Models whose towers read documents."""

# fmt: off
from ..models.hunyuan import _ALPHA, _HUNYUAN
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower, blocks, both, features, loaded, pixels, seeing

_PIXELS = {"min_pixels": 3136, "max_pixels": 12544}
_W = (64, 64)
_DOTS = blocks("vision_tower.blocks.{v}.", {
    "norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": _W, "mlp.fc1": (96, 64), "mlp.fc3": (96, 64), "mlp.fc2": (64, 96)},
    bias=False) | both("vision_tower.", {"patch_embed.patchifier.norm": (64,), "post_trunk_norm": (64,)}, bias=False) | both("vision_tower.", {
    "patch_embed.patchifier.proj": (64, 3, 14, 14), "merger.ln_q": (64,), "merger.mlp.0": (256, 256), "merger.mlp.2": (64, 256)})


def _lighton(folder, picture):
    return features.seen(loaded(folder), pixel_values=pixels(folder, picture), image_sizes=[picture.shape[:2]])


def _hunyuan(folder, picture, p=16):
    """With positions sampled as the runtime does: as if a side were a tenth of a patch longer."""
    import torch

    model = loaded(folder).model
    merger, embed = model.vision_tower.patch_merger, model.vision_tower.embeddings
    features.round_as_ggml(merger.proj_conv, merger.proj_out)
    side = embed.position_edge

    def sampled(embeddings, height, width):
        table = embed.position_embedding.weight[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        return torch.nn.functional.interpolate(table, scale_factor=[(int(n) + 0.1) / side for n in (height, width)],
                                               mode="bilinear").permute(0, 2, 3, 1).flatten(1, 2)

    embed.interpolate_pos_encoding = sampled
    given, height, width = features.patches(folder, picture, p)
    return features.seen(model, pixel_values=given, image_grid_thw=torch.tensor([[1, height, width]]))


ROWS = (
    Tower(Model("hunyuan-vl-eye", "HunYuanVLForConditionalGeneration", "gpt2", {
        "text_config": _HUNYUAN | {"num_hidden_layers": 1, "eod_token_id": 7, "rope_parameters": _ALPHA | {"mrope_section": [4, 4, 4, 4]},
                                   "tie_word_embeddings": True}, "tie_word_embeddings": True,
        "vision_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
                          "patch_size": 16, "out_hidden_size": 64, "max_image_size": 128}}), CLIP | _PIXELS,
        cropped=("vit.embeddings.position_embedding.",), size=(96, 96), features=_hunyuan),
    Tower(seeing("dots-ocr-eye", "dots-ocr", {"vision_config": {
        "embed_dim": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 14,
        "rms_norm_eps": 1e-5, "spatial_merge_size": 2}}, _DOTS, "vision_tower."), CLIP | _PIXELS),
    Tower(Model("lighton-eye", "LightOnOcrForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"model_type": "qwen3", "head_dim": 16, "rope_parameters": THETA, "architectures": ["Qwen3ForCausalLM"]},
        "vision_config": {"model_type": "pixtral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
                          "image_size": 112, "patch_size": 14}, "spatial_merge_size": 2}), CLIP,
        fault="does not know the class as transformers 5 spells it", hopeless=True, features=_lighton,
        tolerance=6e-3),  # inputs of products rounded to float16 move transformers' own by 5.9e-3
)
