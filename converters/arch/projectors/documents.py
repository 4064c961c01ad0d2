"""Towers that read documents, images of any size: HunyuanOCR, dots.ocr, LightOnOCR.

Source: llama.cpp `conversion/hunyuan.py`, `conversion/dotsocr.py`, `conversion/lightonocr.py`; transformers
`models/hunyuan_vl`, `models/lighton_ocr`; for dots.ocr the names in its published files.
"""

from __future__ import annotations

from dataclasses import replace

from .common import *
from .pixtral import BREAKS, MERGED, PATCHED, SEEN, SHAPES_OF_PIXTRAL

# -- HunyuanOCR: two convolutions merge the patches; the row of a class token leads the table of positions -------------

HUNYUAN_VL = towered(
    "hunyuan_vl", ("HunYuanVLForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None),
             H("vision.image_size", below("vision_config", "image_size", "max_image_size"), default=2048)),
        projector_type("hunyuanvl"), GELU, *PIXELS,
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32, default=1e-5),
        H("vision.spatial_merge_size", "vision_config.spatial_merge_size", default=2),
        Fixed("vision_config.hidden_act", "gelu", refuse=True),
    ),
    tensors=(
        *rows("v.", "vit.embeddings.", {"patch_embd": "patch_embedding"}, type=CONV),
        R("v.position_embd.weight", "vit.embeddings.position_embedding.weight", Crop(1), type="F32"),
        *rows("v.blk.{v}.", "vit.layers.{v}.", {
            "ln1": "input_layernorm", **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.o_proj",
            "ln2": "post_attention_layernorm", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h"}),
        *rows("mm.", "vit.perceive.proj.", {"0": "0", "2": "2"}, type=CONV),
        *rows("mm.", "vit.perceive.", {"model.fc": "mlp", "pre_norm": "before_rms", "post_norm": "after_rms"}),
        *(R(f"mm.image_{end}", f"vit.perceive.image_{end}") for end in ("begin", "end")),
        R("v.image_newline", "vit.perceive.image_newline"),
        R("v.view_seperator", "vit.perceive.image_sep", need=False),
    ),
    shapes={
        "v.image_newline": "4*width", "v.view_seperator": "text",
        **lengths("mm.", {"0": "2*width width merge merge", "2": "4*width 2*width 1 1", "model.fc": "text 4*width",
                        "pre_norm": "width", "post_norm image_begin image_end": "text"})},
    shown={"positions": Shown("the runtime sees it in the tensor", lambda c: 1 + (
        c["vision_config"]["max_image_size"] // c["vision_config"]["patch_size"]) ** 2)},
    aliases=(("model.vit.", "vit."), ("model.vision_tower.", "vit."), ("vision_tower.", "vit.")), example="tencent/HunyuanOCR",
)

# -- dots.ocr: a gated tower with norms alone --------------------------------------------------------------------------

DOTS_OCR = towered(
    "dots_ocr", ("DotsOCRForCausalLM",),
    hparams=(
        *but(seeing(epsilon=None), Const("vision.image_size", 0)), projector_type("dots_ocr"), SILU, *PIXELS,
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32),
        H("vision.projector.scale_factor", "vision_config.spatial_merge_size"),
    ),
    tensors=(
        *rows("v.", "vision_tower.patch_embed.patchifier.", {"patch_embd": "proj"}, type=CONV),
        *rows("v.", "vision_tower.patch_embed.patchifier.", {"pre_ln": "norm"}),
        *rows("v.blk.{v}.", "vision_tower.blocks.{v}.", {
            "ln1": "norm1", "attn_qkv": "attn.qkv", "attn_out": "attn.proj", "ln2": "norm2", "ffn_gate": "mlp.fc1",
            "ffn_up": "mlp.fc3", "ffn_down": "mlp.fc2"}),
        R("mm.post_norm.weight", "vision_tower.post_trunk_norm.weight"),
        *rows("mm.", "vision_tower.merger.", {"input_norm": "ln_q", "0": "mlp.0", "2": "mlp.2"}),
    ),
    shapes=lengths("mm.", {"post_norm input_norm": "width", "0": "projected shuffled", "2": "text projected"}),
    aliases=(("model.vision_tower.", "vision_tower."),), text="", example="rednote-hilab/dots.ocr",
)

# -- LightOnOCR: Pixtral's tower, without the token that ends a row ----------------------------------------------------

NAMED = {"vision_tower.": "model.vision_encoder.", "multi_modal_projector.": "model.vision_projection."}


def of_this_class(row: TensorRule) -> TensorRule:
    """A row of Pixtral's under the names of this class."""
    first, _, rest = row.hf[0].text.partition(".")
    return replace(row, hf=(Template(NAMED[f"{first}."] + rest),))


LIGHTON = towered(
    "lighton_ocr", ("LightOnOcrForConditionalGeneration", "LightOnOCRForConditionalGeneration"),
    hparams=(*SEEN, projector_type("lightonocr"), Fixed("vision_config.model_type", "pixtral")),
    tensors=tuple(map(of_this_class, (*PATCHED, *MERGED))), sizes={"head_length": BREAKS["sizes"]["head_length"]},
    **SHAPES_OF_PIXTRAL, aliases=tuple(NAMED.items()),
    example="lightonai/LightOnOCR-1B-1025",
)

SPECS = (HUNYUAN_VL, DOTS_OCR, LIGHTON)
