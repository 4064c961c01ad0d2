"""Towers of Qwen2-VL and their kin: Sarashina 2.2 Vision has the same; EXAONE 4.5 with grouped heads and a gate.

Source: llama.cpp `conversion/qwenvl.py`, `conversion/sarashina2.py`, `conversion/exaone.py`; transformers `models/qwen2_vl`.
"""

from __future__ import annotations

from .common import *
from .qwen_vl import (
    AROUND,
    BLOCK,
    FRAMES,
    FUSED,
    MERGER,
    MERGES,
    OUT_WIDTH,
    SEPARATE,
    TABLE,
    VISUAL,
    merges,
    period,
    side,
    whole_blocks,
)

QWEN2_VL = towered(
    "qwen2_vl", ("Qwen2VLForConditionalGeneration", "Qwen2VLModel", "Sarashina2VisionForCausalLM"),
    hparams=(
        *but(seeing(epsilon=None), H("vision.image_size", "vision_config.image_size", default=560),
             H("vision.embedding_length", below("vision_config", "embed_dim", "hidden_size")),
             # the width of the text model, as existing files have it: the runtime does not look
             H("vision.feed_forward_length", "vision_config.hidden_size")),
        projector_type("qwen2vl_merger"), merges(),
        Computed(f"vision.{NORM}", lambda c: c.get("rms_norm_eps") or 1e-6, type=F32),  # the text's, as existing files have it
        Seen("vision_config.mlp_ratio", mlp_ratio),
        Fixed("vision_config.hidden_act", "quick_gelu", refuse=True),
    ),
    tensors=(*FRAMES, *AROUND, *SEPARATE, *rows("v.blk.{v}.", BLOCK, {"ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}), *MERGER),
    shapes=MERGES | lengths("v.blk.{v}.", {"ffn_up": "mlp width", "ffn_down": "width mlp"}),
    shown={"mlp": Shown("the key has the text model's width", lambda c: int(
        c["vision_config"]["embed_dim"] * c["vision_config"]["mlp_ratio"]))},
    aliases=VISUAL, example="Qwen/Qwen2-VL-2B-Instruct",
)


EXAONE4_5 = towered(
    "exaone4_5", ("Exaone4_5_ForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), H("vision.image_size", "vision_config.image_size", default=560)),
        projector_type("exaone4_5"), *activation("gelu", "silu"), merges(), OUT_WIDTH,
        *PIXELS,
        H("vision.attention.head_count_kv", "vision_config.num_key_value_heads", need=False),
        H(f"vision.{NORM}", ("vision_config.rms_norm_eps", "rms_norm_eps"), F32, default=1e-6),
        H("vision.window_size", "vision_config.window_size", need=False),
        Computed("vision.n_wa_pattern", lambda c: period(c) if "fullatt_block_indexes" in c["vision_config"] else None,
                 "vision_config.fullatt_block_indexes", lambda kv: whole_blocks(kv) if "vision.n_wa_pattern" in kv else None),
    ),
    tensors=(
        *FRAMES, *AROUND, *FUSED,
        *rows("v.blk.{v}.", BLOCK, GATED), *MERGER,
    ),
    shapes=MERGES | {"v.blk.{v}.attn_qkv": "qkv_rows width"}, aliases=VISUAL, example="LGAI-EXAONE/EXAONE-4.5-33B",
)

LING3_VL = towered(
    "ling3_vl", ("BailingMoeV3VLForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", side)), projector_type("ling3vl"), GELU,
        H("vision.spatial_merge_size", "vision_config.spatial_merge_size", need=False),
        Computed(f"vision.{NORM}", lambda c: (c.get("text_config") or {}).get("rms_norm_eps") or 1e-6, type=F32),  # the text's
        Fixed("vision_config.disable_merger_proj", True, refuse=True),
        Seen("vision_config.num_position_embeddings", size("v.position_embd.weight")),
    ),
    tensors=(
        *FRAMES, R("v.patch_embd.bias", "visual.patch_embed.proj.bias"),
        R("v.position_embd.weight", "visual.pos_embed.weight", type="F32"), *AROUND, *FUSED,
        *rows("v.blk.{v}.", BLOCK, {"ffn_up": "mlp.linear_fc1", "ffn_down": "mlp.linear_fc2"}),
        *rows("mm.", "", {"input_norm": "visual.merger.norm", "0": "linear_proj.0", "2": "linear_proj.2"}),
    ),
    shapes=TABLE | {"mm.input_norm": "width", "mm.0": "projected merged", "mm.2": "text projected"},
    aliases=(*VISUAL, ("model.linear_proj.", "linear_proj.")), example="inclusionAI/Ling-3.0-flash-VL",
)

SPECS = (QWEN2_VL, EXAONE4_5, LING3_VL)
