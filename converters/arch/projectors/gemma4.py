"""Towers of Gemma 4: images of any size, pooled by three; sound through a conformer. And the unified model, which has neither
tower and projects patches and frames themselves.

Source: llama.cpp `conversion/gemma.py`; transformers `models/gemma4`, `models/gemma4_unified`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .common import *

EYE, EAR = "model.vision_tower.encoder.layers.{v}.", "model.audio_tower.layers.{a}."
KERNEL = 5  # frames that the ear's convolutions see
POOL = 3  # patches of a side that become one token, where the runtime is not told
POOLED = Computed("vision.projector.scale_factor",
                   lambda c: n if (n := c["vision_config"].get("pooling_kernel_size", POOL)) != POOL else None,
                   "vision_config.pooling_kernel_size", lambda kv: kv.get("vision.projector.scale_factor", POOL))
CHANNELS = Channels(3, columns=True)  # pixel by pixel in HF, colour by colour in the runtime


def clipped(gguf: str, hf: str) -> tuple[TensorRule, ...]:
    """A projection whose input and output are held between bounds, where it is trained so."""
    return (R(f"{gguf}.weight", f"{hf}.linear.weight"),
            *(R(f"{gguf}.{side}_{end}", f"{hf}.{side}_{end}", AddAxis(0), need=False, shape="")
              for side in ("input", "output") for end in ("max", "min")))


def linears(prefix: str, hf: str, names: Mapping[str, str]) -> tuple[TensorRule, ...]:
    return tuple(row for gguf, name in names.items() for row in clipped(prefix + gguf, hf + name))


# -- images -----------------------------------------------------------------------------------------------------------

SEEN = (
    *but(seeing(epsilon=None), Const("vision.image_size", 224)), projector_type("gemma4v", "vision.projector_type"), POOLED,
    H(f"vision.{NORM}", ("vision_config.rms_norm_eps", "vision_config.layer_norm_eps"), F32, default=1e-6),
    Fixed("vision_config.num_key_value_heads", lambda c: c["vision_config"]["num_attention_heads"], refuse=True),
    Fixed("vision_config.head_dim", lambda c: c["vision_config"]["hidden_size"] // c["vision_config"]["num_attention_heads"],
          refuse=True),
    Fixed("vision_config.hidden_activation", "gelu_pytorch_tanh", refuse=True),
    Fixed("vision_config.rope_parameters.rope_type", "axial", also=("default",)),
    Fixed("vision_config.rope_parameters.rope_theta", 100.0, refuse=True),
    Seen("vision_config.position_embedding_size", size("v.position_embd.weight", 1)),
    Seen("vision_config.standardize", has("v.std_bias")),
    Seen("vision_config.use_clipped_linears", has("v.blk.0.attn_q.input_max")),
)
EYES = (
    R("v.patch_embd.weight", "model.vision_tower.patch_embedder.input_proj.weight", CHANNELS, Reshape(
        ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
        ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV, shape="width 3*patch*patch"),
    R("v.position_embd.weight", "model.vision_tower.patch_embedder.position_embedding_table", type="F32"),
    *(R(f"v.blk.{{v}}.{gguf}.weight", f"{EYE}{hf}.weight") for gguf, hf in {
        "ln1": "input_layernorm", "attn_post_norm": "post_attention_layernorm", "ln2": "pre_feedforward_layernorm",
        "ffn_post_norm": "post_feedforward_layernorm", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    }.items()),
    *linears("v.blk.{v}.", EYE, {
        **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.o_proj",
        **{f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")}}),
    R("v.blk.{v}.out_scale.weight", EYE + "layer_scalar", AddAxis(0), need=False, shape=""),
    R("v.std_bias", "model.vision_tower.std_bias", need=False),
    R("v.std_scale", "model.vision_tower.std_scale", need=False),
    R("mm.input_projection.weight", "model.embed_vision.embedding_projection.weight"),
)

# -- sound ------------------------------------------------------------------------------------------------------------


def channels(facts: GgufFacts) -> list[int]:
    """Of the two convolutions in front of the blocks."""
    return [facts.tensors[name][0] for n in "01" if (name := f"a.conv1d.{n}.weight") in facts.tensors]


HEARD = (
    *but(hearing(epsilon=None, whisper=False),
         Computed("audio.feed_forward_length", lambda c: 4 * c["audio_config"]["hidden_size"]),
         Computed("audio.num_mel_bins", lambda c: c["audio_config"].get("input_feat_size", 128))),
    projector_type("gemma4a", "audio.projector_type"),
    H(f"audio.{NORM}", ("audio_config.rms_norm_eps", "audio_config.layer_norm_eps"), F32, default=1e-6),
    *(Fixed(f"audio_config.{key}", value, refuse=True) for key, value in {
        "hidden_act": "silu", "residual_weight": 0.5, "attention_chunk_size": 12, "attention_context_left": 13,
        "attention_context_right": 0, "attention_logit_cap": 50.0, "conv_kernel_size": KERNEL}.items()),
    Seen("audio_config.subsampling_conv_channels", channels),
    Seen("audio_config.output_proj_dims", size("a.pre_encode.out.weight")),
    Seen("audio_config.use_clipped_linears", has("a.blk.0.attn_q.input_max")),
    Note("the runtime raises quiet parts of a sound to a floor, which transformers adds to all of it: the file is right",
         lambda c: True),
)
SAMPLED = "model.audio_tower.subsample_conv_projection."
EARS = (
    *(row for n in "01" for row in (
        R(f"a.conv1d.{n}.weight", f"{SAMPLED}layer{n}.conv.weight", type="F32"),
        R(f"a.conv1d.{n}.norm.weight", f"{SAMPLED}layer{n}.norm.weight"))),
    R("a.input_projection.weight", SAMPLED + "input_proj_linear.weight", type="F32"),
    R("a.pre_encode.out.{p}", "model.audio_tower.output_proj.{p}"),
    R("mm.a.input_projection.weight", "model.embed_audio.embedding_projection.weight"),
    *(R(f"a.blk.{{a}}.{gguf}.weight", f"{EAR}{hf}.weight") for gguf, hf in {
        "ffn_norm": "feed_forward1.pre_layer_norm", "ffn_post_norm": "feed_forward1.post_layer_norm",
        "ffn_norm_1": "feed_forward2.pre_layer_norm", "ffn_post_norm_1": "feed_forward2.post_layer_norm",
        "attn_pre_norm": "norm_pre_attn", "attn_post_norm": "norm_post_attn", "ln2": "norm_out",
        "conv_norm": "lconv1d.pre_layer_norm", "norm_conv": "lconv1d.conv_norm",  # the runtime takes each for the other
        "attn_k_rel": "self_attn.relative_k_proj"}.items()),
    *linears("a.blk.{a}.", EAR, {
        "ffn_up": "feed_forward1.ffw_layer_1", "ffn_down": "feed_forward1.ffw_layer_2",
        "ffn_up_1": "feed_forward2.ffw_layer_1", "ffn_down_1": "feed_forward2.ffw_layer_2",
        **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.post",
        "conv_pw1": "lconv1d.linear_start", "conv_pw2": "lconv1d.linear_end"}),
    R("a.blk.{a}.per_dim_scale.weight", EAR + "self_attn.per_dim_scale", Softplus()),
    R("a.blk.{a}.per_dim_k_scale.weight", EAR + "self_attn.per_dim_key_scale", Softplus(), need=False),
    R("a.blk.{a}.conv_dw.weight", EAR + "lconv1d.depthwise_conv1d.weight", AddAxis(1, undo=True), type="F32"),
)
SHAPES_OF_GEMMA: dict[str, Any] = {
    "shapes": {
        "v.position_embd": "2 positions width", **lengths("v.", {"std_bias std_scale": "width"}),
        **lengths("a.", {"conv1d.0": "channels 1 3 3", "conv1d.0.norm": "channels", "conv1d.1": "sampled channels 3 3",
                         "conv1d.1.norm": "sampled", "input_projection": "a.width sampled*quarter",
                         "pre_encode.out": "a.projected a.width"}),
        **lengths("a.blk.{a}.", {"conv_dw": f"a.width 1 {KERNEL}",
                                 "conv_pw1": "2*a.width a.width", "conv_pw2": "a.width a.width"}),
        "mm.a.input_projection": "text a.projected"},
    "sizes": {"quarter": lambda hp: halves(hp["mel"], 2)},
    "shown": {"positions": Shown("the runtime sees it in the tensor", ("vision_config.position_embedding_size",)),
              "sampled": Shown("channels behind the second convolution"),
              "a.projected": Shown("the runtime sees it in the tensor", ("audio_config.output_proj_dims",))}}

GEMMA4_CLASS = ("Gemma4ForConditionalGeneration",)
GEMMA4_SEEING = towered("gemma4", GEMMA4_CLASS, SEEN, EYES, "google/gemma-4-31B-it", **SHAPES_OF_GEMMA,
                        fits=lambda c: not c.get("audio_config"))
GEMMA4_HEARING = towered("gemma4", GEMMA4_CLASS, (*SEEN, *HEARD), (*EYES, *EARS), "google/gemma-4-E2B-it", **SHAPES_OF_GEMMA,
                         fits=lambda c: bool(c.get("audio_config")))

# -- unified: no blocks -------------------------------------------------------------------------------------------------

def epsilon(part: str) -> Callable[[Config], float]:
    return lambda config: config[f"{part}_config"].get("rms_norm_eps", 1e-6)


EMPTY = ("feed_forward_length", "block_count", "attention.head_count")
GEMMA4_UNIFIED = towered(
    "gemma4_unified", ("Gemma4UnifiedForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None), Const("vision.image_size", 224), H("vision.embedding_length", "vision_config.mm_embed_dim"),
             *(Const(f"vision.{key}", 0) for key in EMPTY)),
        *but(hearing(epsilon=None), H("audio.embedding_length", "audio_config.audio_embed_dim"),
             Computed("audio.num_mel_bins", lambda c: c["audio_config"].get("input_feat_size", 128)),
             *(Const(f"audio.{key}", 0) for key in EMPTY)),
        projector_type("gemma4uv", "vision.projector_type"), projector_type("gemma4ua", "audio.projector_type"), POOLED,
        *(Computed(f"{part}.{NORM}", epsilon(part), type=F32) for part in ("vision", "audio")),
        Seen("vision_config.mm_posemb_size", size("v.position_embd.weight", 1)),
        Seen("vision_config.output_proj_dims", size("mm.input_projection.weight", 1)),
    ),
    tensors=(
        R("v.patch_embd.weight", "model.vision_embedder.patch_dense.weight", CHANNELS, type=CONV),
        R("v.patch_embd.bias", "model.vision_embedder.patch_dense.bias"),
        R("v.position_embd.weight", "model.vision_embedder.pos_embedding", Axes((1, 0, 2)), type="F32"),
        *rows("v.patch_norm.", "model.vision_embedder.", {"1": "patch_ln1"}, Channels(3)),
        *rows("v.patch_norm.", "model.vision_embedder.", {"2": "patch_ln2", "3": "pos_norm"}),
        R("mm.input_projection.weight", "model.embed_vision.embedding_projection.weight"),
        R("mm.a.input_projection.weight", "model.embed_audio.embedding_projection.weight"),
    ),
    shapes={"v.patch_embd": "width pooled", "v.position_embd": "positions 2 width", "v.patch_norm.1": "pooled",
            **lengths("v.patch_norm.", {"2 3": "width"}), "mm.input_projection": "text projected"},
    sizes={"pooled": lambda hp: 3 * (hp.get("vision.projector.scale_factor", POOL) * hp["patch"]) ** 2},
    shown={"positions": Shown("the runtime sees it in the tensor", ("vision_config.mm_posemb_size",)),
           "projected": Shown("the runtime sees it in the tensor", ("vision_config.output_proj_dims",))},
    example="google/gemma-4-12B-it",
)

SPECS = (GEMMA4_SEEING, GEMMA4_HEARING, GEMMA4_UNIFIED)
