"""The tower of Muse Glimmer: blocks that attend within windows, each fourth and the last to the whole image; tokens of four
neighbouring patches behind an MLP.

The runtime is given one frame for two equal ones. Source: llama.cpp `conversion/muse_glimmer.py`; transformers
`models/muse_glimmer`.
"""

from __future__ import annotations

from math import isqrt

from .common import *

TOWER = "model.vision_tower."
BLOCK = f"{TOWER}layers.{{v}}."
ROPE = RopePermute("head_length")
WHOLE = 4  # each so many blocks attend to the whole image
GRID = 32  # patches of a side of the table of positions, where config.json does not say


def kinds(config: Config) -> list[str]:
    blocks = config["vision_config"]["num_hidden_layers"]
    return ["full_attention" if (b + 1) % WHOLE == 0 or b == blocks - 1 else "window_attention" for b in range(blocks)]


def grid(facts: GgufFacts) -> int | None:
    rows = size("v.position_embd.weight")(facts)
    return isqrt(rows) if rows else None


MUSE_GLIMMER = towered(
    "muse_glimmer", ("MuseGlimmerForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", lambda c: c["vision_config"].get("pos_emb_height", GRID)
                                            * c["vision_config"]["patch_size"] * c["vision_config"]["merge_size"])),
        projector_type("muse-glimmer"), H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32),
        H("vision.spatial_merge_size", "vision_config.merge_size"),
        Seen("vision_config.pos_emb_height", grid), Seen("vision_config.pos_emb_width", grid),
        Fixed("vision_config.hidden_act", "gelu", refuse=True), Fixed("vision_config.layer_types", kinds, refuse=True),
        Fixed("vision_config.rope_parameters.rope_theta", 10000.0, refuse=True),
        Fixed("vision_config.patch_temporal", 2, refuse=True), Fixed("projector_hidden_act", "gelu", refuse=True),
        Seen("out_hidden_size", size("mm.0.weight", 1)), Seen("projector_hidden_size", size("mm.0.weight")),
        Seen("processor.patch_size", fact("vision.patch_size")),
    ),
    tensors=(
        R("v.patch_embd.weight", f"{TOWER}patch_embedder.patch_embedding.weight", SumFrames(frames=2), Reshape(
            ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
            ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV, shape="width 6*patch*patch"),
        R("v.position_embd.weight", f"{TOWER}patch_embedder.position_embedding_table.weight", type="F32"),
        *rows("v.", TOWER, {"pre_ln": "ln_pre", "post_ln": "ln_post"}),
        *rows("v.blk.{v}.", BLOCK, {f"attn_{x}": f"attn.{x}_proj" for x in "qk"}, ROPE),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "norm1", "attn_v": "attn.v_proj", "attn_out": "attn.proj", "ln2": "norm2", "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2"}),
        *(R(f"mm.{n}.weight", f"model.{name}.weight") for n, name in enumerate((
            "vision_adapter.fc1", "vision_adapter.fc2", "vision_projection"))),
    ),
    shapes={"v.position_embd": "grid width", "mm.0": "projected merged", "mm.1": "adapted projected", "mm.2": "text adapted"},
    shown={"projected": Shown("the runtime sees it in the tensors", ("projector_hidden_size",)),
           "adapted": Shown("between the adapter and the projection")},
    sizes={"grid": lambda hp: (hp["vision.image_size"] // hp["vision.patch_size"] // hp["vision.spatial_merge_size"]) ** 2,
           "head_length": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"]},
    aliases=tuple((f"vision_{part}", f"model.vision_{part}") for part in ("tower.", "adapter.", "projection.")),
    example="meta-models/Muse-Glimmer-30B",
)

SPECS = (MUSE_GLIMMER,)
