"""Towers of SigLIP: separate projections, two norms with bias, a table of positions.

Source: llama.cpp `conversion/gemma.py`; transformers `models/siglip`, `models/gemma3`.
"""

from __future__ import annotations

from math import isqrt

from .common import *

TOWER = "vision_tower.vision_model."
# transformers 5 saves the tower without `vision_model.`
SAVED_WITHOUT = (("model.vision_tower.vision_model.", TOWER), ("model.vision_tower.", TOWER), ("vision_tower.", TOWER))


def siglip(tower: str, **patches: Any) -> tuple[TensorRule, ...]:
    """The rows of a SigLIP tower with this prefix; `patches`: what is said of the patch embedding."""
    return (
        *rows("v.", tower, {"patch_embd": "embeddings.patch_embedding"}, **patches),
        R("v.position_embd.weight", f"{tower}embeddings.position_embedding.weight", type="F32"),
        *rows("v.blk.{v}.", f"{tower}encoder.layers.{{v}}.", CLIP_BLOCK),
        *rows("v.", tower, {"post_ln": "post_layernorm"}),
    )


# -- Gemma 3: patches are pooled to mm_tokens_per_image before they are projected -----------------------------------


def pooled(config: Config) -> int | None:
    """The side of a pool in patches; None for 4, which the runtime takes without being told."""
    vision = config["vision_config"]
    tokens = get_path(config, "processor.image_seq_length")
    side = vision["image_size"] // vision["patch_size"] // isqrt(256 if tokens is MISSING else tokens)
    return side if side > 0 and side != 4 else None


def tokens(kv: Mapping[str, Any]) -> int:
    return (kv["vision.image_size"] // kv["vision.patch_size"] // kv.get("vision.projector.scale_factor", 4)) ** 2


GEMMA3 = towered(
    "gemma3", ("Gemma3ForConditionalGeneration",),
    hparams=(
        *seeing(), projector_type("gemma3"), GELU,
        Computed("vision.projector.scale_factor", pooled, "mm_tokens_per_image", tokens),
        Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True),
        Seen("processor.size", square("vision.image_size")), Seen("processor.image_seq_length", lambda facts: tokens(facts.kv)),
        Seen("vision_config.vision_use_head", lambda facts: False),  # which would pool the whole picture
    ),
    ids={"image_token_index": "<image_soft_token>", "boi_token_index": "<start_of_image>", "eoi_token_index": "<end_of_image>"},
    shapes={"v.position_embd": "grid width", "mm.input_projection": "width text", "mm.soft_emb_norm": "width"},
    tensors=(
        *siglip(TOWER, type="F32"),
        R("mm.input_projection.weight", "multi_modal_projector.mm_input_projection_weight", type="F16"),
        R("mm.soft_emb_norm.weight", "multi_modal_projector.mm_soft_emb_norm.weight", Add(1.0)),
    ),
    aliases=(*SAVED_WITHOUT, ("vision_model.", TOWER), ("model.multi_modal_projector.", "multi_modal_projector."),
             ("multimodal_projector.", "multi_modal_projector.")),
    example="google/gemma-3-4b-it",
)

SPECS = (GEMMA3,)
