"""Towers of MoonViT: fused projections, a table of positions for a grid, norms in front of an MLP that merges neighbours.

Source: llama.cpp `conversion/kimivl.py`; the names in Kimi-VL's published files.
"""

from __future__ import annotations

from .common import *

TOWER = "vision_tower."
KIMI_VL = towered(
    "kimi_vl", ("KimiVLForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Const("vision.image_size", 896)), projector_type("kimivl"), GELU,
        Const("vision.projector.scale_factor", 2), H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32, default=1e-5),
        Fixed("vision_config.merge_kernel_size", [2, 2], refuse=True),
        # a table that is not square says so in config.json alone
        Seen("vision_config.init_pos_emb_height", lambda facts: _side(facts)),
        Seen("vision_config.init_pos_emb_width", lambda facts: _side(facts)),
    ),
    tensors=(
        *rows("v.", f"{TOWER}patch_embed.", {"patch_embd": "proj"}, type=CONV),
        R("v.position_embd.weight", f"{TOWER}patch_embed.pos_emb.weight", Reshape(
            ("grid_height", "grid_width", "vision.embedding_length"),
            ("grid_height*grid_width", "vision.embedding_length")), type="F32"),
        R(tuple(f"v.blk.{{v}}.attn_{x}.{{p}}" for x in "qkv"), f"{TOWER}encoder.blocks.{{v}}.wqkv.{{p}}", Split(3)),
        *rows("v.blk.{v}.", f"{TOWER}encoder.blocks.{{v}}.", {
            "ln1": "norm0", "attn_out": "wo", "ln2": "norm1", "ffn_up": "mlp.fc0", "ffn_down": "mlp.fc1"}),
        *rows("v.", f"{TOWER}encoder.", {"post_ln": "final_layernorm"}),
        *rows("mm.", "multi_modal_projector.", {"input_norm": "pre_norm", "1": "linear_1", "2": "linear_2"}),
    ),
    constants={"grid_height": Constant("vision_config.init_pos_emb_height", neutral=64, default=64),
               "grid_width": Constant("vision_config.init_pos_emb_width", neutral=64, default=64)},
    example="moonshotai/Kimi-VL-A3B-Instruct",
)


def _side(facts: GgufFacts) -> int | None:
    rows = size("v.position_embd.weight")(facts)
    return round(rows ** 0.5) if rows else None


SPECS = (KIMI_VL,)
