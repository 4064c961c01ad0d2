"""Towers of InternViT: a class token, scales behind attention and feed-forward, tiles shuffled into fewer tokens.

The runtime puts the class token behind the patches, where the table of positions has it first. The file has the
table as the model has it: what compensates here would be wrong as soon as the runtime is mended.
Source: llama.cpp `conversion/internvl.py`; transformers `models/internvl`.
"""

from __future__ import annotations

from .common import *


def first(sides: int | list[int]) -> int:
    """The side of a square in pixels, in either spelling."""
    return sides[0] if isinstance(sides, list) else sides


HPARAMS = (
    *but(seeing(epsilon=None), H("vision.image_size", "vision_config.image_size", codec=Codec(first, int)),
         H("vision.patch_size", "vision_config.patch_size", codec=Codec(first, int))),
    H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32), projector_type("internvl"), *activation("gelu", "silu"),
    H("vision.projector.scale_factor", "downsample_ratio", codec=INVERSE),
    H("vision.preproc_min_tiles", "min_dynamic_patch", need=False),
    H("vision.preproc_max_tiles", "max_dynamic_patch", need=False),
)
BY_ROOT = (3200, 45)  # width and blocks of the tower that the runtime norms by the root of mean squares


def normed(config: Config) -> bool:
    """Whether queries and keys have norms that the runtime takes for others."""
    vision = config["vision_config"]
    said = vision.get("use_qk_norm") or vision.get("qk_normalization")
    return bool(said) and (vision.get("hidden_size"), vision.get("num_hidden_layers")) != BY_ROOT


NOTES = (
    Note("the runtime gives each patch its neighbour's position (it takes the class token for the last): the file is right",
         lambda config: True),
    Note("the runtime norms queries and keys around their mean, but in the tower of 45 blocks: the file is right", normed),
)

SHAPES_OF_VIT = {
    "v.class_embd": "1 1 width", "v.position_embd": "1 grid_and_class width",
    **lengths("v.blk.{v}.", {"attn_q_norm attn_k_norm": "width"}),
    **lengths("mm.model.mlp.", {"0": "shuffled", "1": "text shuffled", "3": "text text"})}

# -- OpenGVLab's own class -------------------------------------------------------------------------------------------

EMBEDDINGS, BLOCK = "vision_model.embeddings.", "vision_model.encoder.layers.{v}."
INTERNVL = towered(
    "internvl", ("InternVisionModel", "InternVLChatModel"), hparams=(*HPARAMS, *NOTES),
    tensors=(
        *rows("v.", EMBEDDINGS, {"patch_embd": "patch_embedding"}, type=CONV),
        R("v.class_embd", f"{EMBEDDINGS}class_embedding"),
        R("v.position_embd.weight", f"{EMBEDDINGS}position_embedding", type="F32"),
        R(tuple(f"v.blk.{{v}}.attn_{x}.{{p}}" for x in "qkv"), f"{BLOCK}attn.qkv.{{p}}", Split(3), shape="3*width width"),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "norm1", "attn_out": "attn.proj", "ln2": "norm2", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
        *(R(f"v.blk.{{v}}.attn_{x}_norm.weight", f"{BLOCK}attn.{x}_norm.weight", need=False) for x in "qk"),
        *(R(f"v.blk.{{v}}.ls{n}.weight", f"{BLOCK}ls{n}") for n in "12"),
        *rows("mm.model.mlp.", "mlp1.", {n: n for n in "013"}),
    ),
    shapes=SHAPES_OF_VIT, text="llm_config", example="OpenGVLab/InternVL3-2B",
)

# -- transformers' spelling, which Intern-S1 has as well --------------------------------------------------------------

EMBEDDINGS, BLOCK = "vision_tower.embeddings.", "vision_tower.encoder.layer.{v}."
INTERNVL_HF = towered(
    "internvl", ("InternVLForConditionalGeneration", "InternS1ForConditionalGeneration"), hparams=(
        *but(HPARAMS, *(H(f"vision.{key}", f"vision_config.{key}", codec=Codec(first, lambda side: [side, side]))
                        for key in ("image_size", "patch_size"))),
        Seen("vision_config.use_qk_norm", has("v.blk.0.attn_q_norm.weight")), *NOTES),
    tensors=(
        *rows("v.", EMBEDDINGS, {"patch_embd": "patch_embeddings.projection"}, type=CONV),
        R("v.class_embd", f"{EMBEDDINGS}cls_token"),
        R("v.position_embd.weight", f"{EMBEDDINGS}position_embeddings", type="F32"),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "layernorm_before", **{f"attn_{x}": f"attention.{x}_proj" for x in "qkv"}, 
            "attn_out": "attention.projection_layer", "ln2": "layernorm_after", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
        *(R(f"v.blk.{{v}}.attn_{x}_norm.weight", f"{BLOCK}attention.{x}_norm.weight", need=False) for x in "qk"),
        *(R(f"v.blk.{{v}}.ls{n}.weight", f"{BLOCK}lambda_{n}") for n in "12"),
        *rows("mm.model.mlp.", "multi_modal_projector.", {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}),
    ),
    shapes=SHAPES_OF_VIT,
    aliases=(("model.vision_tower.", "vision_tower."), ("model.multi_modal_projector.", "multi_modal_projector.")),
    example="OpenGVLab/InternVL3-2B-hf",
)

SPECS = (INTERNVL_HF, INTERNVL)  # transformers knows the first
