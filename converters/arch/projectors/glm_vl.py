"""Towers of GLM-V: patches of two frames, a convolution that merges neighbours, a gated projector.

Source: llama.cpp `conversion/glm.py`; transformers `models/glm4v`, `models/glm_ocr`.
"""

from __future__ import annotations

from .common import *
from .qwen_vl import AROUND, BLOCK, FRAMES, FUSED, VISUAL, merges, side

TENSORS = (
    *FRAMES, R("v.patch_embd.bias", "visual.patch_embed.proj.bias"),
    R("v.norm_embd.{p}", "visual.post_conv_layernorm.{p}", need=False),
    R("v.position_embd.weight", "visual.embeddings.position_embedding.weight", need=False, type="F32"),
    *AROUND, *FUSED,
    *(R(f"v.blk.{{v}}.attn_{x}_norm.weight", f"{BLOCK}attn.{x}_norm.weight", need=False) for x in "qk"),
    *rows("v.blk.{v}.", BLOCK, GATED),
    *rows("", "visual.", {"v.post_ln": "post_layernorm"}), *rows("", "visual.", {"mm.patch_merger": "downsample"}, type=CONV),
    *rows("mm.", "visual.merger.", {
        "model.fc": "proj", "post_norm": "post_projection_norm", "gate": "gate_proj", "up": "up_proj", "down": "down_proj"}),
)

GLM4V = towered(
    "glm4v", ("Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration", "GlmOcrForConditionalGeneration",
              "Glm46VForConditionalGeneration"),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", side)),
        projector_type("glm4v"), *activation("gelu", "silu"), merges(),
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32, default=1e-5),
    ),
    tensors=TENSORS, aliases=VISUAL,
    tells={"GlmOcrForConditionalGeneration": has("v.blk.0.attn_q_norm.weight"), **dict.fromkeys(
        ("Glm4vForConditionalGeneration", "Glm46VForConditionalGeneration"), has("v.position_embd.weight"))},
    example="zai-org/GLM-4.1V-9B-Thinking",
)

SPECS = (GLM4V,)
