"""Towers of Qwen: patches of two frames, fused projections, neighbouring patches merged by an MLP.

Source: llama.cpp `conversion/qwenvl.py`, `conversion/qwen3vl.py`; transformers `models/qwen2_5_vl`, `models/qwen3_vl`.
"""

from __future__ import annotations

import math

from .common import *

BLOCK = "visual.blocks.{v}."
FRAMES = (R(("v.patch_embd.weight", "v.patch_embd.weight.1"), "visual.patch_embed.proj.weight", Unstack(2, axis=2), type=CONV,
            shape="width 3 2 patch patch"),)
AROUND = rows("v.blk.{v}.", BLOCK, {"ln1": "norm1", "attn_out": "attn.proj", "ln2": "norm2"})
SEPARATE = (R(tuple(f"v.blk.{{v}}.attn_{x}.{{p}}" for x in "qkv"), BLOCK + "attn.qkv.{p}", Split(3),
              shape="3*width width"),)
MERGER = rows("", "visual.merger.", {"v.post_ln": "ln_q", "mm.0": "mlp.0", "mm.2": "mlp.2"})
MERGES = {"mm.0": "merged merged", "mm.2": "text merged"}
TABLE = {"v.position_embd": "grid width"}
DEEPER = lengths("v.deepstack.{d}.", {"norm": "merged", "fc1": "merged merged", "fc2": "text merged"})
FUSED = rows("v.blk.{v}.", BLOCK, {"attn_qkv": "attn.qkv"})
VISUAL = (("model.visual.", "visual."), ("model.language_model.visual.", "visual."), ("model.model.visual.", "visual."))
PATCHES = (  # what the processor of pictures is told
    Seen("processor.patch_size", fact("vision.patch_size")),
    Seen("processor.merge_size", lambda facts: facts.kv.get("vision.spatial_merge_size", MERGE)),
)
OUT_WIDTH = Seen("vision_config.out_hidden_size", fact("vision.projection_dim"))
IDS = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>", "vision_start_token_id": "<|vision_start|>",
       "vision_end_token_id": "<|vision_end|>"}
MERGE = 2  # patches of a side that become one token, where the runtime is not told

# -- Qwen2.5-VL: most blocks attend within windows ------------------------------------------------------------------


def period(config: Config) -> int:
    """Every how many blocks one attends to the whole image: what the runtime takes for the list of these blocks."""
    full, blocks = config["vision_config"]["fullatt_block_indexes"], config["vision_config"]["depth"]
    step = full[0] + 1 if full else 0
    if not full or full != list(range(step - 1, blocks, step)):
        raise UnsupportedError("blocks with full attention must follow at equal distances", file="config.json",
                               expected=[step - 1, 2 * step - 1, "..."], found=full)
    return step


def whole_blocks(kv: Mapping[str, Any]) -> list[int]:
    step = kv["vision.n_wa_pattern"]
    return list(range(step - 1, kv["vision.block_count"], step)) if step > 0 else []


def merges(key: str = "vision_config.spatial_merge_size") -> HparamRule:
    """Said where it is not what the runtime takes without being told."""
    return Computed("vision.spatial_merge_size", lambda c: n if (n := get_path(c, key)) not in (MISSING, MERGE) else None, key,
                    lambda kv: kv.get("vision.spatial_merge_size", MERGE))


QWEN25_VL = towered(
    "qwen2_5_vl", ("Qwen2_5_VLForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), H("vision.image_size", "vision_config.image_size", default=560)),
        projector_type("qwen2.5vl_merger"), SILU,
        Computed("vision.n_wa_pattern", period, "vision_config.fullatt_block_indexes", whole_blocks), merges(),
        Computed(f"vision.{NORM}", lambda c: c.get("rms_norm_eps") or 1e-6, type=F32),  # the text's, as existing files have it
        *PATCHES, OUT_WIDTH, Fixed("vision_config.window_size", 112, refuse=True),
        Fixed("vision_config.hidden_act", "silu", refuse=True),
    ),
    tensors=(
        *FRAMES, *AROUND, *SEPARATE,
        *rows("v.blk.{v}.", BLOCK, GATED),
        *MERGER,
    ),
    shapes=MERGES, aliases=VISUAL, ids=IDS, example="Qwen/Qwen2.5-VL-3B-Instruct",
)

# -- Qwen3-VL: a table of positions, and features of some blocks beside those of the last ----------------------------


def side(config: Config) -> int:
    """The image size in pixels for which the table of positions was made."""
    vision = config["vision_config"]
    return vision.get("image_size") or int(math.sqrt(vision.get("num_position_embeddings", 2304)) * vision["patch_size"])


def deep(config: Config) -> list[bool]:
    """For each block whether its features go to the text model as well."""
    vision = config["vision_config"]
    taken = vision.get("deepstack_visual_indexes", [])
    if sorted({*taken}) != taken or any(not 0 <= b < vision["depth"] for b in taken):
        raise ValueError(f"{taken} are not blocks in their order")
    return [b in taken for b in range(vision["depth"])]


def marked(kv: Mapping[str, Any]) -> list[int]:
    return [b for b, deep in enumerate(kv.get("vision.is_deepstack_layers", [])) if deep]


QWEN3_HPARAMS = (
    *but(seeing(epsilon=None), Computed("vision.image_size", side)),
    projector_type("qwen3vl_merger"), GELU, H("vision.spatial_merge_size", "vision_config.spatial_merge_size", need=False),
    Computed(f"vision.{NORM}", lambda c: (c.get("text_config") or {}).get("rms_norm_eps") or 1e-6, type=F32),  # the text's
    Computed("vision.is_deepstack_layers", deep, "vision_config.deepstack_visual_indexes", marked, BOOL),
    *PATCHES, OUT_WIDTH, Seen("vision_config.num_position_embeddings", size("v.position_embd.weight")),
    Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True),
)
DEEP = "visual.deepstack_merger_list.{d}."
QWEN3_VL = towered(
    "qwen3_vl", ("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration", "Qwen3_5ForConditionalGeneration",
                 "Qwen3_5MoeForConditionalGeneration", "Qwen4ExpForConditionalGeneration"), hparams=QWEN3_HPARAMS,
    tensors=(
        *FRAMES, R("v.patch_embd.bias", "visual.patch_embed.proj.bias"),
        R("v.position_embd.weight", "visual.pos_embed.weight", type="F32"), *AROUND, *FUSED,
        *rows("v.blk.{v}.", BLOCK, {"ffn_up": "mlp.linear_fc1", "ffn_down": "mlp.linear_fc2"}),
        *rows("", "visual.merger.", {"v.post_ln": "norm", "mm.0": "linear_fc1", "mm.2": "linear_fc2"}),
        *rows("v.deepstack.{d}.", DEEP, {"norm": "norm", "fc1": "linear_fc1", "fc2": "linear_fc2"}),
    ),
    stacks={"d": Stack("deepstack")}, sizes={"deepstack": marked}, shapes=MERGES | DEEPER | TABLE, aliases=VISUAL, ids=IDS,
    example="Qwen/Qwen3-VL-4B-Instruct",
)

SPECS = (QWEN25_VL, QWEN3_VL)
