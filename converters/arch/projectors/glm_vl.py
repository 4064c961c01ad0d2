"""Towers of GLM-V: patches of two frames, a convolution that merges neighbours, a gated projector.

Source: llama.cpp `conversion/glm.py`; transformers `models/glm4v`, `models/glm_ocr`.
"""

from __future__ import annotations

from .common import *
from .qwen_vl import AROUND, BLOCK, FRAMES, FUSED, OUT_WIDTH, VISUAL, merges, side

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

SHAPES_OF_GLM: dict[str, Any] = {
    "shapes": {
        "v.norm_embd": "width", **lengths("v.blk.{v}.", {"ffn_gate ffn_up": "gated width", "ffn_down": "width gated"}),
        "mm.patch_merger": "text width merge merge",
        **lengths("mm.", {"model.fc": "text text", "post_norm": "text", "gate up": "projected text",
                          "down": "text projected"})},
    "shown": {"gated": Shown("the key is of the blocks in one class, of the projector in another"),
              "positions": Shown("the runtime resizes the table", grid_of("vision_config"))}}

GLM4V = towered(
    "glm4v", ("Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration", "GlmOcrForConditionalGeneration",
              "Glm46VForConditionalGeneration"),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", side)),
        projector_type("glm4v"), *activation("gelu", "silu"), merges(), OUT_WIDTH, SQUARE,
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32, default=1e-5),
    ),
    tensors=TENSORS, **SHAPES_OF_GLM, aliases=VISUAL,
    tells={"GlmOcrForConditionalGeneration": has("v.blk.0.attn_q_norm.weight"), **dict.fromkeys(
        ("Glm4vForConditionalGeneration", "Glm46VForConditionalGeneration"), has("v.position_embd.weight"))},
    example="zai-org/GLM-4.1V-9B-Thinking",
)

# -- GLM-5-Next: as many pixels as the processor's numbers of tokens say ----------------------------------------------


def pixels(tokens: str) -> Any:
    """The limit in pixels of a limit in tokens of the processor's; None where it says none."""
    def limit(config: Config) -> int | None:
        processor = config["processor"]
        side = processor.get("patch_size", 14) * processor.get("merge_size", 2)
        return processor[tokens] * side**2 if tokens in processor else None

    return limit


GLM5_NEXT = towered(
    "glm5_next", ("Glm5NextForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", side)),
        projector_type("glm5v"), *activation("gelu", "silu"), OUT_WIDTH,
        H("vision.spatial_merge_size", "vision_config.spatial_merge_size", default=2),
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32, default=1e-5),
        H("vision.swiglu_clamp", "vision_config.swiglu_limit", F32, need=False),
        Computed("vision.image_min_pixels", pixels("min_image_tokens")),
        Computed("vision.image_max_pixels", pixels("max_image_tokens")),
        Note("llama.cpp does not load the projector without min_image_tokens and max_image_tokens in preprocessor_config.json",
             lambda c: not {"min_image_tokens", "max_image_tokens"} <= c["processor"].keys()),
    ),
    tensors=TENSORS, **SHAPES_OF_GLM, aliases=VISUAL, example="zai-org/GLM-5.3-Flash",
)

SPECS = (GLM4V, GLM5_NEXT)
