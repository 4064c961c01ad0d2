"""Models with a tower of SigLIP."""

# fmt: off
from ..models.rows import THETA, Model
from . import HALF, TEXT, Tower, loaded, pixels

EYE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 112, "patch_size": 14}
_GEMMA3 = TEXT | {"head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 32, "sliding_window": 8,
                  "layer_types": ["full_attention"],
                  "rope_parameters": {"full_attention": THETA | {"rope_theta": 1000000.0}, "sliding_attention": THETA}}
_OLD = {"vision_tower.": "vision_tower.vision_model."}


def _hub(shapes):
    """Names as the Hub has them; transformers 5 saves the tower without a level of names."""
    return {name.replace("vision_tower.", "vision_tower.vision_model.", 1): shapes.pop(name)
            for name in list(shapes) if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model.")}


def _features(folder, picture):
    import torch

    with torch.inference_mode():
        out = loaded(folder).get_image_features(pixel_values=pixels(folder, picture))
    return getattr(out, "pooler_output", out)[0].numpy()


ROWS = (
    Tower(Model("gemma3-eye", "Gemma3ForConditionalGeneration", "gemma", {
        "text_config": _GEMMA3, "vision_config": EYE | {"vision_use_head": False}, "mm_tokens_per_image": 4}, zero_norms=True),
        HALF | {"image_seq_length": 4}, fault="does not know the names that transformers 5 saves", hopeless=True,
        features=_features, tolerance=1.5e-3),
    Tower(Model("gemma3-hub-eye", "Gemma3ForConditionalGeneration", "gemma", {
        "text_config": _GEMMA3, "vision_config": EYE | {"vision_use_head": False, "image_size": 56}, "mm_tokens_per_image": 4}, zero_norms=True,
        extra=_hub), HALF | {"image_seq_length": 4}, size=(56, 56),
        features=_features, tolerance=1.5e-3),
)
