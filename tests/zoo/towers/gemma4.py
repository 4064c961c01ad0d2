"""Models with towers of Gemma 4, and the unified one."""

# fmt: off
from functools import partial

import numpy as np

from ..models.rows import THETA, Model
from . import TEXT, Tower, features, loaded

_TEXT = TEXT | {
    "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 8, "global_head_dim": 64, "num_hidden_layers": 2,
    "final_logit_softcapping": 30.0, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}, "sliding_attention": THETA}}
_EYE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16,
        "patch_size": 16, "position_embedding_size": 64}
_EAR = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "subsampling_conv_channels": [128, 32], "output_proj_dims": 64}
_BOUNDS = {"put_min": (-2.0, -1.0), "put_max": (1.0, 2.0)}  # of clipped projections: a lower bound above the upper one means one thing to torch and another to ggml
_RAW = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}


def _features(folder, picture, p=16):
    import torch

    h, w = picture.shape[0] // p, picture.shape[1] // p
    patches = torch.from_numpy((picture.astype("float32") / 255).reshape(h, p, w, p, 3).transpose(0, 2, 1, 3, 4).reshape(1, h * w, -1).copy())
    places = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), -1).reshape(1, h * w, 2)
    with torch.inference_mode():
        return features.rows(loaded(folder).get_image_features(patches, places))


def _heard(folder, samples):
    """Of frames as the runtime makes them: no quieter than a floor, which transformers adds to each. Its convolutions round what
    they take to float16: that alone is a difference of up to 3e-2 in the features of a tiny model."""
    import torch
    from transformers import Gemma4AudioFeatureExtractor

    made = Gemma4AudioFeatureExtractor(mel_floor=1e-12)([samples], return_tensors="np", pad_to_multiple_of=None)
    frames = np.log(np.maximum(np.exp(made["input_features"]), 1e-3)).astype("float32")
    model = loaded(folder).model
    sampled = model.audio_tower.subsample_conv_projection
    features.round_as_ggml(sampled.layer0.conv, sampled.layer1.conv)
    with torch.inference_mode():
        return features.rows(model.get_audio_features(torch.from_numpy(frames), torch.ones(frames.shape[:2], dtype=torch.bool)))


ROWS = (
    Tower(Model("gemma4-eye", "Gemma4ForConditionalGeneration", "gemma4", {"text_config": _TEXT, "vision_config": _EYE, "audio_config": None}),
          _RAW, fault="writes whole numbers, which the runtime refuses", drop=("clip.vision.image_mean", "clip.vision.image_std"),
          size=(480, 384), features=_features, tolerance=1.5e-2),
    Tower(Model("gemma4-ear", "Gemma4ForConditionalGeneration", "gemma4", {
        "text_config": _TEXT, "vision_config": _EYE | {"use_clipped_linears": True, "standardize": True}, "audio_config": _EAR}, ranges=_BOUNDS),
          _RAW | {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}, size=(32000,), features=_heard,
          fault="computes scales with torch's logarithm, which rounds a few otherwise",
          drop=tuple(f"a.blk.{b}.per_dim_scale.weight" for b in range(4))),
    Tower(Model("gemma4-unified-eye", "Gemma4UnifiedForConditionalGeneration", "gemma4", {
        "text_config": _TEXT, "vision_config": {"patch_size": 16, "mm_embed_dim": 64, "mm_posemb_size": 16, "output_proj_dims": 64},
        "audio_config": {"audio_embed_dim": 640}}, add={"moe_intermediate_size": None, "hidden_size_per_layer_input": 0}),
          _RAW | {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}, size=(480, 384), features=partial(_features, p=48)),
)
