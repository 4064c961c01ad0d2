"""Models with a tower of MoonViT."""

# fmt: off
from . import HALF, Tower, blocks, both, pixels, seeing

_TOWER = blocks("vision_tower.encoder.blocks.{v}.", {
    "norm0": (64,), "norm1": (64,), "wqkv": (192, 64), "wo": (64, 64), "mlp.fc0": (96, 64), "mlp.fc1": (64, 96)}) | both("vision_tower.", {
    "patch_embed.proj": (64, 3, 14, 14), "encoder.final_layernorm": (64,)}) | {"vision_tower.patch_embed.pos_emb.weight": (64, 64, 64)}


def _video(second: str, width: int, **heads: int) -> tuple[dict, dict]:
    """Settings and shapes of the tower that takes videos as well; `width`: of its table of positions."""
    config = {"patch_size": 14, "init_pos_emb_height": 12, "init_pos_emb_width": width, "init_pos_emb_time": 4, "merge_kernel_size": [2, 2],
              "merge_type": "sd2_tpool", "mm_hidden_size": 64, "mm_projector_type": "patchmerger", "pos_emb_type": "divided_fixed",
              "projector_hidden_act": "gelu", "projector_ln_eps": 1e-5, "text_hidden_size": 64, **heads}
    names = ("proj.0", "proj.2") if second == "proj.2" else ("linear_1", "linear_2")
    return {"vision_config": config}, _TOWER | {"vision_tower.patch_embed.pos_emb.weight": (12, width, 64)} | both("mm_projector.", {
        "pre_norm": (64,), names[0]: (256, 256), names[1]: (64, 256)})


def _features(folder, picture):
    """By transformers' class, which calls the settings otherwise."""
    import json

    import torch
    from transformers import Kimi_K25Config, Kimi_K25ForConditionalGeneration

    said = json.loads((folder / "config.json").read_text())
    seen = said["vision_config"]
    named = {key: seen[f"vt_{key}"] for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")}
    config = Kimi_K25Config(text_config=said["text_config"] | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, vision_config=named | {
        "patch_size": 14, "pos_emb_height": seen["init_pos_emb_height"], "pos_emb_width": seen["init_pos_emb_width"]}, projection_hidden_size=64, tie_word_embeddings=False)
    model = Kimi_K25ForConditionalGeneration.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    height, width = (side // 14 for side in picture.shape[:2])
    patches = pixels(folder, picture).reshape(3, height, 14, width, 14).permute(1, 3, 0, 2, 4).reshape(-1, 3, 14, 14)
    with torch.inference_mode():
        return torch.cat(tuple(model.get_image_features(patches, torch.tensor([[1, height, width]])).pooler_output)).numpy()


_PREPROCESS = {"media_proc_cfg": HALF | {"in_patch_limit": 256, "patch_size": 14, "merge_kernel_size": 2, "fixed_output_tokens": None}}
_VT = {f"vt_{key}": value for key, value in {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 16, "num_hidden_layers": 4}.items()}
_PLAIN = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 4}

ROWS = (
    Tower(seeing("kimivl-eye", "kimivl", {"vision_config": {
        "model_type": "moonvit", "patch_size": 14, "init_pos_emb_height": 64, "init_pos_emb_width": 64, "num_attention_heads": 4,
        "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96, "merge_kernel_size": [2, 2]}},
        _TOWER | both("multi_modal_projector.", {"pre_norm": (64,), "linear_1": (256, 256), "linear_2": (64, 256)}),
        "vision_tower.", "multi_modal_projector."), HALF),
    Tower(seeing("kimik25-eye", "kimik25", *_video("proj.2", 12, **_VT), "vision_tower.", "mm_projector."), _PREPROCESS, size=(168, 168),
          fault="takes the published sizes, whatever config.json says", features=_features,
          drop=tuple(f"clip.vision.{key}" for key in ("embedding_length", "feed_forward_length", "block_count"))),
    Tower(seeing("glm5v-eye", "glm5v", *_video("linear_2", 16, **_PLAIN), "vision_tower.", "mm_projector."), _PREPROCESS, size=(168, 112)),
)
