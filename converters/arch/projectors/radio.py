"""The tower of Nemotron Nano VL: RADIO's, with registers in front of the patches, for images of one size.

config.json does not say how large the tower is: it is the one that is published. The class resamples its table of positions for
each image; the file holds it as it is for the only size that the runtime takes.
Source: llama.cpp `conversion/nemotron.py`, `tools/mtmd/models/nemotron-v2-vl.cpp`; the names in the published files.
"""

from __future__ import annotations

from .common import *

RADIO = "vision_model.radio_model.model."
PATCHES, BLOCK = f"{RADIO}patch_generator.", f"{RADIO}blocks.{{v}}."
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of a folder without processor files
BUILT_IN = {"vision.embedding_length": 1280, "vision.feed_forward_length": 5120, "vision.block_count": 32,
            "vision.attention.head_count": 16, "vision.image_mean": MEAN, "vision.image_std": STD}
SIDE = 512  # pixels, where config.json does not say

NEMOTRON_VL = towered(
    "nemotron_vl", ("NemotronH_Nano_VL_V2", "RADIOModel"),
    hparams=(
        projector_type("nemotron_v2_vl"),
        *defaulted(but(seeing(epsilon=None), H("vision.image_size", "force_image_size", default=SIDE)), BUILT_IN),
        Const(f"vision.{NORM}", 1e-6, F32), GELU,
        H("vision.projector.scale_factor", "downsample_ratio", default=0.5, codec=INVERSE),
        Seen("vision_config.max_resolution", fact("vision.image_size")),
        Seen("vit_hidden_size", fact("vision.embedding_length")), Seen("projector_hidden_size", size("mm.model.mlp.1.weight")),
        Fixed("ps_version", "v2", refuse=True),
    ),
    tensors=(
        R("v.class_embd", f"{PATCHES}cls_token.token"),
        R("v.patch_embd.weight", f"{PATCHES}embedder.weight", Reshape(
            ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
            ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV,
          shape="vision.embedding_length 3*vision.patch_size*vision.patch_size"),
        R("v.position_embd.weight", f"{PATCHES}pos_embed", Resample(side="grid_side"), type="F32"),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "norm1", "attn_qkv": "attn.qkv", "attn_out": "attn.proj", "ln2": "norm2", "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2"}),
        *rows("mm.model.mlp.", "mlp1.", {n: n for n in "013"}),
    ),
    sizes={"grid_side": lambda hp: hp["vision.image_size"] // hp["vision.patch_size"]},
    ignore=(*(Template(f"vision_model.radio_model.{name}") for name in (
        "input_conditioner.norm_mean", "input_conditioner.norm_std", "summary_idxs")),
        Template(f"{PATCHES}video_embedder.weight")),
    fits=lambda c: not c.get("sound_config"), text="llm_config", ids={"img_context_token_id": "<image>"},
    example="nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
)

SPECS = (NEMOTRON_VL,)
