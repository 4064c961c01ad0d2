"""Models with a tower of Pixtral."""

# fmt: off
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower, loaded, pixels

_EYE = {"model_type": "pixtral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 16,
        "image_size": 140, "patch_size": 14, "hidden_act": "silu"}
_LOST = {"fault": "leaves out the embedding that ends a row of patches, without which the runtime refuses the file",
         "drop": ("v.token_embd.img_break",), "tokens": {"<SPECIAL_8>": "[IMG_BREAK]"}}


def _features(folder, picture):
    """With a place for the embedding of [IMG_BREAK] between rows: NaN, since the runtime adds it to memory that it has not cleared."""
    import torch

    model = loaded(folder)
    with torch.inference_mode():
        out = model.get_image_features(pixel_values=pixels(folder, picture), image_sizes=torch.tensor([picture.shape[:2]]))
        rows = torch.cat([part.reshape(-1, part.shape[-1]) for part in getattr(out, "pooler_output", out)])
        count = picture.shape[0] // 14 // getattr(model.config, "spatial_merge_size", 1)
        rows = rows.reshape(count, -1, rows.shape[-1])
        end = torch.full((count, 1, rows.shape[-1]), torch.nan)
        return torch.cat([rows, end], 1).reshape(-1, rows.shape[-1])[:-1].numpy()


ROWS = (
    Tower(Model("pixtral-eye", "LlavaForConditionalGeneration", "tekken", {
        "text_config": TEXT | {"model_type": "mistral", "head_dim": 16, "rope_parameters": THETA}, "vision_config": _EYE,
        "vision_feature_layer": -1, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu"}),
        CLIP, size=(140, 84), features=_features, **_LOST),
    Tower(Model("mistral3-eye", "Mistral3ForConditionalGeneration", "tekken", {
        "text_config": TEXT | {"model_type": "mistral", "head_dim": 32, "rope_parameters": THETA}, "vision_config": _EYE,
        "spatial_merge_size": 2}), CLIP, size=(140, 84), features=_features, **_LOST),
)
