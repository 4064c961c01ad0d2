"""Models with a tower of InternViT."""

# fmt: off
from ..models.rows import Model
from . import CLIP, TEXT, Tower

ROWS = (
    Tower(Model("internvl-hf-eye", "InternVLForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"model_type": "qwen2"}, "downsample_ratio": 0.5, "tie_word_embeddings": False,
        "vision_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
                          "image_size": [56, 56], "patch_size": [14, 14], "use_qk_norm": True}}), CLIP,
        fault="does not know the class", hopeless=True),
)
