"""Models with a tower of SigLIP 2, and Janus."""

# fmt: off
from ..models.rows import DECODER, THETA, Model
from . import HALF, TEXT, Tower, blocks, both, seeing
from .siglip import EYE

_LLAMA = TEXT | {"model_type": "llama", "head_dim": 16, "rope_parameters": THETA}
_PIXELS = {"min_pixels": 3136, "max_pixels": 12544}
_W = (64, 64)
_BLOCK = {"layer_norm1": (64,), "layer_norm2": (64,), "mlp.fc1": (96, 64), "mlp.fc2": (64, 96),
          **{f"self_attn.{x}": _W for x in ("q_proj", "k_proj", "v_proj", "out_proj")}}
_YOUTU = blocks("siglip2.vision_model.encoder.layers.{v}.", _BLOCK) | both("siglip2.vision_model.", {
    "post_layernorm": (64,), "embeddings.patch_embedding": (64, 588)}) | both("merger.", {"mlp.0": (256, 256), "mlp.2": (64, 256)}) | {
    "merger.ln_q.weight": (64,)}

ROWS = (
    Tower(Model("lfm2vl-eye", "Lfm2VlForConditionalGeneration", "gpt2", {
        "text_config": DECODER | {"model_type": "lfm2", "num_hidden_layers": 2, "block_multiple_of": 32, "layer_types": ["conv", "full_attention"],
                                  "rope_parameters": THETA, "architectures": ["Lfm2ForCausalLM"]},
        "vision_config": {k: v for k, v in EYE.items() if k != "image_size"} | {
            "model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 64, "vision_use_head": False},
        "downsample_factor": 2, "projector_hidden_size": 96}), HALF, fault="does not know the names that transformers 5 saves", hopeless=True),
    Tower(seeing("youtuvl-eye", "youtuvl", {"vision_config": EYE | {
        "model_type": "siglip2_vision_model", "hidden_act": "gelu_pytorch_tanh", "window_size": 112, "fullatt_block_indexes": [1, 3]}},
        _YOUTU, "siglip2.", "merger."), HALF),
    Tower(Model("paddleocr-eye", "PaddleOCRVLForConditionalGeneration", "llama-spm", {
        "text_config": TEXT | {"model_type": "paddleocr_vl_text", "head_dim": 16, "rope_parameters": THETA | {
            "rope_theta": 500000.0, "mrope_section": [4, 2, 2]}},
        "vision_config": EYE | {"architectures": ["PaddleOCRVisionModel"]}}), HALF | _PIXELS),
    Tower(Model("janus-eye", "JanusForConditionalGeneration", "llama3", {
        "text_config": _LLAMA, "vision_config": {k: v for k, v in EYE.items() if k != "intermediate_size"} | {
            "mlp_ratio": 2.0, "projection_dim": 64, "num_image_tokens": 64},
        "vq_config": {"embed_dim": 4, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "channel_multiplier": [1, 1],
                      "num_res_blocks": 1, "num_patches": 4, "projection_dim": 64, "image_token_embed_dim": 64},
        "tie_word_embeddings": False}), HALF, lost=("model.vqmodel.", "model.generation_")),
)
