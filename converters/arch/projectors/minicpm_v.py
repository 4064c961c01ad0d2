"""The tower of MiniCPM-V 4.6: SigLIP, in which one block is followed by a merger of neighbouring patches.

Source: llama.cpp `conversion/minicpm.py`; transformers `models/minicpmv4_6`.
"""

from __future__ import annotations

from .common import *
from .siglip import siglip

TOWER, MERGER = "vision_tower.", "vision_tower.vit_merger."
FACTORS = {"4x": 2, "16x": 4}

MINICPMV4_6 = towered(
    "minicpmv4_6", ("MiniCPMV4_6ForConditionalGeneration",),
    hparams=(
        *but(seeing(), H("vision.image_size", ("processor.scale_resolution", "vision_config.image_size"))),
        projector_type("minicpmv4_6"), GELU,
        H("vision.projector.scale_factor", ("processor.downsample_mode", "downsample_mode"), default="16x",
          codec=Codec(FACTORS.__getitem__, {factor: mode for mode, factor in FACTORS.items()}.__getitem__)),
        H("vision.wa_layer_indexes", ("insert_layer_id", "vision_config.insert_layer_id"), default=6,
          codec=Codec(lambda block: [block], lambda blocks: blocks[0])),
        Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True), SQUARE,
    ),
    tensors=(
        *siglip(TOWER, type=CONV),
        *rows("v.vit_merger.", MERGER, {
            "ln1": "layer_norm1", **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.out_proj",
            "ds_ln": "pre_norm", "ds_ffn_up": "linear_1", "ds_ffn_down": "linear_2"}, need=False),
        *rows("mm.", "merger.mlp.0.", {"input_norm": "pre_norm", "up": "linear_1", "down": "linear_2"}),
    ),
    shapes={
        **block("v.vit_merger.", "width", "", ""), **lengths("v.vit_merger.", {
            "ds_ln": "4*width", "ds_ffn_up": "within 4*width", "ds_ffn_down": "width within"}),
        **lengths("mm.", {"input_norm": "4*width", "up": "projected 4*width", "down": "text projected"})},
    shown={"within": Shown("of the merger in the tower, which the runtime multiplies whatever it is"),
           "positions": Shown("the runtime resizes the table", grid_of("vision_config"))},
    aliases=(("model.vision_tower.", TOWER), ("model.merger.", "merger.")), example="openbmb/MiniCPM-V-4_6",
)

SPECS = (MINICPMV4_6,)
