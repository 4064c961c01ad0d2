"""Models with a tower of InternViT."""

# fmt: off
from ..models.multimodal import _shapes
from ..models.rows import THETA, Model
from . import CLIP, TEXT, Tower, features, loaded, pixels

_BLOCK = {"norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64), "mlp.fc1": (96, 64), "mlp.fc2": (64, 96)}
_CHAT = {f"vision_model.encoder.layers.{b}.{name}.{p}": shape if p == "weight" else shape[:1]
         for b in range(4) for name, shape in _BLOCK.items() for p in ("weight", "bias")}
_CHAT |= {f"vision_model.encoder.layers.{b}.ls{n}": (64,) for b in range(4) for n in "12"}
_CHAT |= {f"mlp1.{n}.{p}": shape if p == "weight" else shape[:1] for n, shape in (("0", (256,)), ("1", (64, 256)), ("3", (64, 64)))
          for p in ("weight", "bias")}
_CHAT |= {f"vision_model.embeddings.{name}": shape for name, shape in {
    "class_embedding": (1, 1, 64), "position_embedding": (1, 17, 64), "patch_embedding.weight": (64, 3, 14, 14),
    "patch_embedding.bias": (64,)}.items()}


def _as_the_runtime(folder, picture):
    """As the runtime computes it: patches have their neighbours' positions, and queries and keys are normed around their mean, where
    transformers takes the root of their mean square."""
    import torch

    model = loaded(folder)
    tower = model.model.vision_tower
    with torch.inference_mode():
        table = tower.embeddings.position_embeddings
        table.copy_(table.roll(1, 1))
        for layer in tower.encoder.layer:
            for name in ("q_norm", "k_norm"):
                norm = torch.nn.LayerNorm(64, eps=1e-6, bias=False)
                norm.weight.copy_(getattr(layer.attention, name).weight)
                setattr(layer.attention, name, norm)
    return features.seen(model, pixel_values=pixels(folder, picture))


ROWS = (
    Tower(Model("internvl-eye", "InternVLChatModel", "qwen2", {
        "model_type": "internvl_chat", "llm_config": TEXT | {
            "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "head_dim": 16, "rms_norm_eps": 1e-6, "hidden_act": "silu",
            "tie_word_embeddings": False, "vocab_size": 430, "rope_parameters": THETA},
        "downsample_ratio": 0.5, "min_dynamic_patch": 1, "max_dynamic_patch": 12, "vision_config": {
            "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 56, "patch_size": 14, "layer_norm_eps": 1e-6,
            "hidden_act": "gelu", "qk_normalization": False}},
        shapes=lambda config: _shapes("language_model.model.", "language_model.lm_head.weight", {}, bias=True)(
            config | {"text_config": config["llm_config"]}) | _CHAT), CLIP),
    Tower(Model("internvl-hf-eye", "InternVLForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"model_type": "qwen2"}, "downsample_ratio": 0.5, "tie_word_embeddings": False,
        "vision_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
                          "image_size": [56, 56], "patch_size": [14, 14], "use_qk_norm": True}}), CLIP,
        fault="does not know the class", hopeless=True, size=(56, 56), features=_as_the_runtime),
)
