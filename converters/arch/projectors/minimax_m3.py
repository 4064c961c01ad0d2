"""The tower of MiniMax-M3: CLIP's blocks without a class token, patches of two frames, heads that turn by time, height, width.

A third of each head turns by each of the three, in the first half of the head and in the second; the runtime has each third
together. Source: llama.cpp `conversion/minimax.py`; transformers `models/minimax_m3_vl`; the names in the published files.
"""

from __future__ import annotations

from .common import *

TOWER = "vision_tower.vision_model."
HEAD = 80  # rows: the runtime, and the thirds of what turns, know no other
AXES = HeadAxes("head_rows", 2, 3, "third")
COMPRESSION = "vision_config.img_token_compression_config."

BLOCK = f"{TOWER}encoder.layers.{{v}}."
TURNED = {name: CLIP_BLOCK[name] for name in ("attn_q", "attn_k")}


def heads(config: Config) -> int:
    vision = config["vision_config"]
    if vision["hidden_size"] != HEAD * vision["num_attention_heads"]:
        raise ValueError(f"heads of {HEAD} rows are expected")
    return int(vision["num_attention_heads"])


MINIMAX_M3 = towered(
    "minimax_m3_vl", ("MiniMaxM3SparseForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.attention.head_count", heads, "vision_config.num_attention_heads",
                                            lambda kv: kv["vision.attention.head_count"])),
        projector_type("minimax_m3"), GELU,
        H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32, default=1e-5),
        H("vision.spatial_merge_size", (f"{COMPRESSION}spatial_merge_size", "vision_config.spatial_merge_size"), default=2),
        Fixed("vision_config.hidden_act", "gelu", refuse=True),
        Fixed("vision_config.rope_theta", 10000.0, refuse=True),
        Fixed("vision_config.rope_parameters.rope_theta", 10000.0, refuse=True),
        Fixed(f"{COMPRESSION}image_token_compression_method", "patch_merge", refuse=True),
        Fixed(f"{COMPRESSION}temporal_patch_size", 2, refuse=True), Fixed("vision_config.temporal_patch_size", 2, refuse=True),
        Seen("projector_hidden_size", size("mm.1.weight")), Fixed("projector_hidden_act", "gelu", refuse=True),
        Seen("merged_hidden_size", size("mm.merger.fc1.weight", 1)),
        Seen("processor.patch_size", fact("vision.patch_size")),
        Seen("processor.merge_size", fact("vision.spatial_merge_size")),
    ),
    tensors=(
        R(("v.patch_embd.weight", "v.patch_embd.weight.1"), f"{TOWER}embeddings.patch_embedding.weight", Unstack(2, axis=2),
          type=CONV, shape="width 3 2 patch patch"),
        *rows("v.", TOWER, {"pre_ln": "pre_layrnorm"}),
        *rows("v.blk.{v}.", BLOCK, TURNED, AXES),
        *rows("v.blk.{v}.", BLOCK, {name: hf for name, hf in CLIP_BLOCK.items() if name not in TURNED}),
        *rows("mm.", "multi_modal_projector.", {"1": "linear_1", "2": "linear_2"}),
        *rows("mm.merger.", "patch_merge_mlp.", {"fc1": "linear_1", "fc2": "linear_2"}),
    ),
    shapes={"mm.1": "projected width", "mm.2": "text projected", "mm.merger.fc1": "joined merge*merge*text",
            "mm.merger.fc2": "text joined"},
    shown={"projected": Shown("the runtime sees it in the tensors", ("projector_hidden_size",)),
           "joined": Shown("of the merger behind the projector")},
    sizes={"head_rows": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"],
           "third": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"] // 6},
    ids={"image_token_index": "]<]image[>[", "video_token_index": "]<]video[>["}, example="MiniMaxAI/MiniMax-M3",
)

SPECS = (MINIMAX_M3,)
