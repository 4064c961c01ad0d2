"""The towers of Nemotron Nano VL: RADIO's, with registers in front of the patches, for images of one size; in Nemotron Nano
Omni beside it Parakeet's conformer, which hears.

config.json does not say how large RADIO is: it is the one that is published. The class resamples its table of positions for
each image; the file holds it as it is for the only size that the runtime takes.
Source: llama.cpp `conversion/nemotron.py`, `tools/mtmd/models/nemotron-v2-vl.cpp`, `parakeet.cpp`; transformers
`models/parakeet`, `nemotron_h_omni`; the names in the published files.
"""

from __future__ import annotations

from .common import *

RADIO = "vision_model.radio_model.model."
PATCHES, BLOCK = f"{RADIO}patch_generator.", f"{RADIO}blocks.{{v}}."
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of a folder without processor files
BUILT_IN = {"vision.embedding_length": 1280, "vision.feed_forward_length": 5120, "vision.block_count": 32,
            "vision.attention.head_count": 16, "vision.image_mean": MEAN, "vision.image_std": STD}
SIDE = 512  # pixels, where config.json does not say
FREQUENCIES = 257  # of frames of 512 samples, which the runtime takes
FLAT = (AddAxis(0), AddAxis(-1), AddAxis(-1))  # a bias of channels, as of pictures

CLASSES = ("NemotronH_Nano_VL_V2", "RADIOModel")
SEEING = (
    *defaulted(but(seeing(epsilon=None), H("vision.image_size", "force_image_size", default=SIDE)), BUILT_IN),
    Const(f"vision.{NORM}", 1e-6, F32), GELU,
    H("vision.projector.scale_factor", "downsample_ratio", default=0.5, codec=INVERSE),
    Seen("vision_config.max_resolution", fact("vision.image_size")),
    Seen("vit_hidden_size", fact("vision.embedding_length")), Seen("projector_hidden_size", size("mm.model.mlp.1.weight")),
    Fixed("ps_version", "v2", refuse=True),
)
EYE = (
    R("v.class_embd", f"{PATCHES}cls_token.token"),
    R("v.patch_embd.weight", f"{PATCHES}embedder.weight", Reshape(
        ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
        ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV),
    R("v.position_embd.weight", f"{PATCHES}pos_embed", Resample(side="grid_side"), type="F32"),
    *rows("v.blk.{v}.", BLOCK, {
        "ln1": "norm1", "attn_qkv": "attn.qkv", "attn_out": "attn.proj", "ln2": "norm2", "ffn_up": "mlp.fc1",
        "ffn_down": "mlp.fc2"}),
    *rows("mm.model.mlp.", "mlp1.", {n: n for n in "013"}),
)
SHAPES_OF_RADIO: dict[str, Any] = {
    "shapes": {
        "v.class_embd": "registers width", "v.position_embd": "1 positions width",
        **lengths("mm.model.mlp.", {"0": "shuffled", "1": "projected shuffled", "3": "text projected"}),
        **lengths("a.", {"conv1d.0 conv1d.2 conv1d.5": "channels 1 3 3", "conv1d.3 conv1d.6": "channels channels 1 1",
                       "pre_encode.out": "a.width channels*bands", "window": "window"}),
        "a.blk.{a}.conv_dw": "a.width", **lengths("mm.a.", {"norm_pre": "a.width", "mlp.1": "a.projected a.width",
                                                          "mlp.2": "text a.projected"})},
    "shown": {"registers": Shown("a class token, and what stands beside it"),
              "positions": Shown("the file has the table for one size of images", lambda c: (
                  c["vision_config"]["max_resolution"] // c["vision_config"]["patch_size"]) ** 2),
              "window": Shown("samples that the runtime weighs")}}
GRID = {"grid_side": lambda hp: hp["vision.image_size"] // hp["vision.patch_size"]}
UNSEEN = (*(Template(f"vision_model.radio_model.{name}") for name in (
    "input_conditioner.norm_mean", "input_conditioner.norm_std", "summary_idxs")), Template(f"{PATCHES}video_embedder.weight"))

NEMOTRON_VL = towered(
    "nemotron_vl", CLASSES, hparams=(projector_type("nemotron_v2_vl"), *SEEING), tensors=EYE, sizes=GRID,
    **SHAPES_OF_RADIO, ignore=UNSEEN,
    fits=lambda c: not c.get("sound_config"), text="llm_config", ids={"img_context_token_id": "<image>"},
    example="nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
)

# -- what hears -------------------------------------------------------------------------------------------------------

S, PARAKEET, FRONT = "sound_config", "sound_encoder.encoder.", "sound_encoder.encoder.subsampling."
A = PARAKEET + "layers.{a}."
HEARING = (
    *hearing(S, epsilon=None, whisper=False), Const(f"audio.{NORM}", 1e-5, F32), Const("audio.subsampling_factor", 8),
    H("audio.conv_kernel_size", f"{S}.conv_kernel_size"),
    Seen(f"{S}.subsampling_conv_channels", size("a.conv1d.0.weight")),
    Seen(f"{S}.projection_hidden_size", size("mm.a.mlp.1.weight")),
    *(Fixed(f"{S}.{key}", value, refuse=True) for key, value in {
        "subsampling_factor": 8, "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2, "hidden_act": "silu",
        "attention_bias": False, "scale_input": False, "projection_bias": False, "sampling_rate": 16000}.items()),
    Seen(f"{S}.convolution_bias", has("a.blk.0.conv_dw.bias")),
    Note("the runtime leaves out the biases of the ear's convolutions", lambda c: c[S].get("convolution_bias", True)),
)
EAR = (
    *rows("a.blk.{a}.", A, {
        "ffn_norm": "norm_feed_forward1", "ffn_up": "feed_forward1.linear1", "ffn_down": "feed_forward1.linear2",
        "ffn_norm_1": "norm_feed_forward2", "ffn_up_1": "feed_forward2.linear1", "ffn_down_1": "feed_forward2.linear2",
        "ln1": "norm_self_att", "ln2": "norm_out", "norm_conv": "norm_conv", "conv_norm": "conv.norm",
        "linear_pos": "self_attn.relative_k_proj", **{f"attn_{x}": f"self_attn.{y}_proj" for x, y in (
            ("q", "q"), ("k", "k"), ("v", "v"), ("out", "o"))}}),
    *(R(f"a.blk.{{a}}.pos_bias_{x}", f"{A}self_attn.bias_{x}") for x in "uv"),
    *(R(f"a.blk.{{a}}.conv_norm_{x}", f"{A}conv.norm.running_{x}") for x in ("mean", "var")),
    R("a.blk.{a}.conv_dw.weight", A + "conv.depthwise_conv.weight", Reshape(
        ("audio.embedding_length", 1, "audio.conv_kernel_size"), (1, 1, "audio.embedding_length", "audio.conv_kernel_size")),
      type="F32"),
    R("a.blk.{a}.conv_dw.bias", A + "conv.depthwise_conv.bias", need=False),
    *(row for n in "12" for row in (
        R(f"a.blk.{{a}}.conv_pw{n}.weight", f"{A}conv.pointwise_conv{n}.weight", AddAxis(-1, undo=True), type="F32"),
        R(f"a.blk.{{a}}.conv_pw{n}.bias", f"{A}conv.pointwise_conv{n}.bias", *FLAT, need=False))),
    *(row for n in (0, 2, 3, 5, 6) for row in (
        R(f"a.conv1d.{n}.weight", f"{FRONT}layers.{n}.weight", type="F32"),
        R(f"a.conv1d.{n}.bias", f"{FRONT}layers.{n}.bias", *FLAT))),
    *rows("a.", FRONT, {"pre_encode.out": "linear"}),
    R("a.mel_filters", PARAKEET + "feature_extractor.featurizer.fb",
      Reshape((1, "audio.num_mel_bins", FREQUENCIES), (1, "audio.num_mel_bins", FREQUENCIES))),
    R("a.window", PARAKEET + "feature_extractor.featurizer.window"),
    *rows("mm.a.", "sound_projection.", {"norm_pre": "norm", "mlp.1": "linear1", "mlp.2": "linear2"}),
)

NEMOTRON_OMNI = towered(
    "nemotron_omni", CLASSES,
    hparams=(projector_type("nemotron_v2_vl", "vision.projector_type"), projector_type("parakeet", "audio.projector_type"),
             *SEEING, *HEARING),
    tensors=(*EYE, *EAR), sizes=GRID, **SHAPES_OF_RADIO, ignore=(*UNSEEN, Template(A + "conv.norm.num_batches_tracked")),
    fits=lambda c: bool(c.get("sound_config")), text="llm_config", ids={"img_context_token_id": "<image>"},
    example="nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16",
)

SPECS = (NEMOTRON_VL, NEMOTRON_OMNI)
