"""Towers of MoonViT: fused projections, a table of positions for a grid, norms in front of an MLP that merges neighbours.

Kimi-K2.5 and GLM-5V have a tower that takes videos as well, of which the runtime computes the part for single images.

Source: llama.cpp `conversion/kimivl.py`; the names in their published files.
"""

from __future__ import annotations

import math

from .common import *

TOWER = "vision_tower."
BLOCK = f"{TOWER}encoder.blocks.{{v}}."
AROUND = (
    *rows("v.", f"{TOWER}patch_embed.", {"patch_embd": "proj"}, type=CONV),
    *rows("v.blk.{v}.", BLOCK, {"ln1": "norm0", "attn_out": "wo", "ln2": "norm1", "ffn_up": "mlp.fc0", "ffn_down": "mlp.fc1"}),
    *rows("v.", f"{TOWER}encoder.", {"post_ln": "final_layernorm"}),
)
TABLE = f"{TOWER}patch_embed.pos_emb.weight"


def side(facts: GgufFacts) -> int | None:
    """Of a square table of positions that is stored row by row."""
    rows = size("v.position_embd.weight")(facts)
    return round(math.sqrt(rows)) if rows else None


KIMI_VL = towered(
    "kimi_vl", ("KimiVLForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Const("vision.image_size", 896)), projector_type("kimivl"), GELU,
        Const("vision.projector.scale_factor", 2), H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32, default=1e-5),
        Fixed("vision_config.merge_kernel_size", [2, 2], refuse=True),
        # a table that is not square says so in config.json alone
        Seen("vision_config.init_pos_emb_height", side), Seen("vision_config.init_pos_emb_width", side),
    ),
    tensors=(
        *AROUND,
        R("v.position_embd.weight", TABLE, Reshape(
            ("grid_height", "grid_width", "vision.embedding_length"),
            ("grid_height*grid_width", "vision.embedding_length")), type="F32"),
        R(tuple(f"v.blk.{{v}}.attn_{x}.{{p}}" for x in "qkv"), f"{BLOCK}wqkv.{{p}}", Split(3), shape="3*width width"),
        *rows("mm.", "multi_modal_projector.", {"input_norm": "pre_norm", "1": "linear_1", "2": "linear_2"}),
    ),
    constants={"grid_height": Constant("vision_config.init_pos_emb_height", neutral=64, default=64),
               "grid_width": Constant("vision_config.init_pos_emb_width", neutral=64, default=64)},
    shapes={"mm.input_norm": "width", "mm.1": "projected 4*width", "mm.2": "text projected"},
    example="moonshotai/Kimi-VL-A3B-Instruct",
)

# -- Kimi-K2.5, GLM-5V: pairs of rows turn by width and height in turn, in the runtime all by width, then all by height ------

PATCHES = 16384  # of an image at most
LEAST = 8  # patches of an image, as existing files have it


def merged(kernel: Any) -> int:
    """The side in patches of what becomes one token."""
    height, width = kernel
    if height != width:
        raise ValueError(f"{kernel} is no square")
    return int(height)


def area(config: Config) -> int:
    return int(config["vision_config"].get("patch_size", 14) ** 2)


def in_grid(key: str, default: int, shown: Any) -> tuple[HparamRule, ...]:
    """A size of the table of positions, under a key without `clip.`."""
    hf = f"vision_config.init_{key}"
    return (Computed(f"vision.{key}", lambda c: default if (n := get_path(c, hf)) is MISSING else n), Seen(hf, shown))


AXES = HeadAxes("head_length", "pairs", 2, 2)


def moonvit3d(name: str, cls: str, linear: tuple[str, str], spelled: tuple[str, str], sizes: tuple[str, str],
              **settings: Any) -> Projector:
    """`linear`: what its two linear maps are called, and `spelled` elsewhere. `sizes`: what its settings of sizes begin with,
    and elsewhere."""
    return towered(
        name, (cls,),
        hparams=(
            *but(seeing(epsilon=None), Computed("vision.image_size", lambda c: c["vision_config"].get("init_pos_emb_height", 64)
                                                * c["vision_config"]["patch_size"]),
                 *(H(f"vision.{key}", below("vision_config", *(start + name for start in sizes))) for key, name in {
                     "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
                     "block_count": "num_hidden_layers", "attention.head_count": "num_attention_heads"}.items())),
            projector_type("kimik25"),
            *in_grid("pos_emb_height", 64, size("v.position_embd.weight")),
            *in_grid("pos_emb_width", 64, size("v.position_embd.weight", 1)),
            *in_grid("pos_emb_time", 4, lambda facts: facts.keys.get("vision.pos_emb_time")),
            GELU, Fixed("vision_config.projector_hidden_act", "gelu", refuse=True),
            H(f"vision.{NORM}", "vision_config.projector_ln_eps", F32, default=1e-5),
            H("vision.projector.scale_factor", "vision_config.merge_kernel_size", default=[2, 2],
              codec=Codec(merged, lambda side: [side, side])),
            Computed("vision.image_min_pixels", lambda c: LEAST * area(c)),
            Computed("vision.image_max_pixels",
                     lambda c: (PATCHES if (n := get_path(c, "processor.in_patch_limit")) is MISSING else n) * area(c),
                     "processor.in_patch_limit", lambda kv: kv["vision.image_max_pixels"] // kv["vision.patch_size"] ** 2),
            Seen("vision_config.text_hidden_size", fact("vision.projection_dim")),
            Seen("vision_config.mm_hidden_size", fact("vision.embedding_length")),
            Seen("processor.patch_size", fact("vision.patch_size")),
            Seen("processor.merge_kernel_size", fact("vision.projector.scale_factor")),
            *(Fixed(f"vision_config.{key}", value, refuse=True) for key, value in {
                "pos_emb_type": "divided_fixed", "merge_type": "sd2_tpool", "mm_projector_type": "patchmerger"}.items()),
        ),
        tensors=(
            *AROUND, R("v.position_embd.weight", TABLE, type="F32"),
            R("v.blk.{v}.attn_qkv.{p}", f"{BLOCK}wqkv.{{p}}", Split(3), Each((AXES, AXES, Op())), Split(3, undo=True)),
            *rows("mm.", "mm_projector.", {"input_norm": "pre_norm", "1": linear[0], "2": linear[1]}),
        ),
        sizes={"head_length": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"],
               "pairs": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"] // 4},
        aliases=tuple((f"mm_projector.{other}.", f"mm_projector.{own}.") for other, own in zip(spelled, linear, strict=True)),
        shapes={"v.position_embd": "rows columns width", "mm.input_norm": "width", "mm.1": "projected shuffled",
                "mm.2": "text projected"},
        shown={name: Shown("old files lack the key", (f"vision_config.init_pos_emb_{side}",), f"vision.pos_emb_{side}")
               for name, side in (("rows", "height"), ("columns", "width"))},
        ignore=(Template(f"{TOWER}patch_embed.pos_emb.time_weight"),), **settings)


ORDER, NUMBER = ("proj.0", "proj.2"), ("linear_1", "linear_2")
KIMI_K25 = moonvit3d("kimi_k25", "KimiK25ForConditionalGeneration", ORDER, NUMBER, ("vt_", ""),
                     ids={"media_placeholder_token_id": "<|media_pad|>"}, example="moonshotai/Kimi-K2.5")
GLM5V = moonvit3d("glm5v", "Glm5vForConditionalGeneration", NUMBER, ORDER, ("", "vt_"),
                  ids={"media_placeholder_token_id": "<|image|>"}, example="baseten/GLM-5.2-Vision-NVFP4")

SPECS = (KIMI_VL, KIMI_K25, GLM5V)
