"""Towers of Gemma 3n: an eye of convolutions (MobileNet v5), stages of blocks of three kinds; and an ear, a conformer, which
existing files hold and the runtime never reads.

Source: llama.cpp `conversion/gemma.py`; transformers `models/gemma3n`; for the eye the names in its published files.
"""

from __future__ import annotations

from .common import *

EYE, EAR = "model.vision_tower.timm_model.", "model.audio_tower.conformer.{a}."
BLOCK = EYE + "blocks.{s}.{i}."
SAMPLED = "model.audio_tower.subsample_conv_projection."
STAGES = 4
# Of a block: of the first stage; of inverted residuals; of attention.
PARTS = (
    "conv_exp.weight", "bn1.weight", "conv_pwl.weight", "bn2.weight",
    *(f"{name}.{part}.weight" for name in ("dw_start", "dw_mid", "pw_exp", "pw_proj") for part in ("conv", "bn")),
    "layer_scale.gamma", "norm.weight", *(f"attn.{name}.proj.weight" for name in ("query", "key", "value", "output")),
    *(f"attn.{name}.{part}.weight" for name in ("key", "value") for part in ("down_conv", "norm")),
)
FUSING = tuple(f"msfa.{name}.weight" for name in (
    "ffn.pw_exp.conv", "ffn.pw_exp.bn", "ffn.pw_proj.conv", "ffn.pw_proj.bn", "norm"))
# Of a block the channels that it takes, widens to and gives; queries, and keys as long as values; and the kernels.
IN, WIDE, OUT, QUERIES, KEYS = (f"{name}.{{s}}.{{i}}" for name in ("in", "wide", "out", "queries", "keys"))
FIRST, MIDDLE, AHEAD, DOWN = (f"kernel.{name}.{{s}}.{{i}}" for name in ("exp", "mid", "start", "down"))
SHAPES_OF_3N = {
    **lengths("v.conv_stem.", {"conv": "stem 3 3 3", "bn": "stem"}),
    **lengths("v.blk.{s}.{i}.", {
        "conv_exp": f"{WIDE} {IN} {FIRST} {FIRST}", "bn1": WIDE, "conv_pwl": f"{OUT} {WIDE} 1 1", "bn2": OUT,
        "dw_start.conv": f"{IN} 1 {AHEAD} {AHEAD}", "dw_start.bn": IN, "dw_mid.conv": f"{WIDE} 1 {MIDDLE} {MIDDLE}",
        "dw_mid.bn": WIDE, "pw_exp.conv": f"{WIDE} {IN} 1 1", "pw_exp.bn": WIDE, "pw_proj.conv": f"{OUT} {WIDE} 1 1",
        "pw_proj.bn": OUT, "layer_scale.gamma": OUT, "norm": IN, "attn.query.proj": f"{QUERIES} {IN} 1 1",
        "attn.key.proj attn.value.proj": f"{KEYS} {IN} 1 1", "attn.output.proj": f"{OUT} {QUERIES} 1 1",
        "attn.key.down_conv attn.value.down_conv": f"{IN} 1 {DOWN} {DOWN}", "attn.key.norm attn.value.norm": IN}),
    **lengths("v.msfa.", {"ffn.pw_exp.conv": "fused.wide fused 1 1", "ffn.pw_exp.bn": "fused.wide",
                          "ffn.pw_proj.conv": "width fused.wide 1 1", "ffn.pw_proj.bn norm": "width"}),
    **lengths("mm.", {"embedding": "tokens width", "hard_emb_norm soft_emb_norm": "width"}),
    **lengths("mm.a.", {"embedding": "a.tokens a.width", "hard_emb_norm soft_emb_norm": "a.width"}),
    **lengths("a.blk.{a}.", {
        "layer_pre_norm": "a.width", "ffn_up ffn_up_1": "4*a.width a.width", "ffn_down ffn_down_1": "a.width 4*a.width",
        "conv_pw1": "2*a.width a.width", "conv_pw2": "a.width a.width", "conv_dw": "a.width 1 kernel"}),
    **lengths("a.", {"conv1d.0": "channels 1 3 3", "conv1d.0.norm": "channels", "conv1d.1": "sampled channels 3 3",
                     "conv1d.1.norm": "sampled", "pre_encode.out": "a.width sampled*quarter"})}
SHOWN_OF_3N = {
    **{name: Shown("of MobileNet, which the runtime knows by its tensors") for name in (
        "stem", IN, WIDE, OUT, QUERIES, KEYS, FIRST, MIDDLE, AHEAD, DOWN, "fused", "fused.wide")},
    "tokens": Shown("of this sense alone", ("vision_config.vocab_size",)),
    "a.tokens": Shown("of this sense alone", ("audio_config.vocab_size",)),
    "kernel": Shown("the runtime sees it in the tensor", ("audio_config.conf_conv_kernel_size",)),
    "sampled": Shown("channels behind the second convolution")}
SIDE, TOKENS = 768, 256  # pixels; of an image


def embedded(gguf: str, hf: str) -> tuple[TensorRule, ...]:
    """What a sense is projected by, and the embeddings of its own tokens."""
    return rows(gguf, f"model.{hf}.", {
        "embedding": "embedding", "hard_emb_norm": "hard_embedding_norm", "soft_emb_norm": "soft_embedding_norm",
        "input_projection": "embedding_projection"})


def side(config: Config) -> int:
    height = get_path(config, "processor.size.height")
    return SIDE if height is MISSING else height


GEMMA3N = towered(
    "gemma3n", ("Gemma3nForConditionalGeneration",),
    hparams=(
        *but(seeing(epsilon=None),
             Computed("vision.image_size", side, "processor.size.height", lambda kv: kv["vision.image_size"]),
             Computed("vision.patch_size", lambda c: side(c) // c["processor"].get("image_seq_length", TOKENS),
                      "processor.image_seq_length", lambda kv: kv["vision.image_size"] // kv["vision.patch_size"]),
             # The runtime sees these in the tensors; the numbers are those of existing files.
             Const("vision.block_count", 128), Computed("vision.attention.head_count", lambda c: c["vision_config"].get(
                 "num_attention_heads", 8)),
             Computed("vision.feed_forward_length", lambda c: 4 * c["vision_config"].get("intermediate_size", 2048)),
             Const("vision.image_mean", [0.0, 0.0, 0.0], F32), Const("vision.image_std", [1.0, 1.0, 1.0], F32)),
        Computed(f"vision.{NORM}", lambda c: c["vision_config"].get("layer_norm_eps", 1e-6), type=F32),
        *but(hearing(epsilon=None), H("audio.embedding_length", "audio_config.hidden_size"),
             H("audio.block_count", "audio_config.conf_num_hidden_layers"),
             H("audio.attention.head_count", "audio_config.conf_num_attention_heads"),
             H("audio.num_mel_bins", "audio_config.input_feat_size"),
             Computed("audio.feed_forward_length", lambda c: c["audio_config"].get("intermediate_size", 6144))),
        Const(f"audio.{NORM}", 1e-5, F32),
        projector_type("gemma3nv", "vision.projector_type"), projector_type("gemma3na", "audio.projector_type"),
        Seen("processor.size.width", fact("vision.image_size")),
        Fixed("vision_config.architecture", "mobilenetv5_300m_enc"),
        Seen("vision_config.vocab_size", size("mm.embedding.weight")),
        Seen("audio_config.vocab_size", size("mm.a.embedding.weight")),
        Seen("audio_config.conf_conv_kernel_size", size("a.blk.0.conv_dw.weight", 2)),
        Seen("audio_config.sscp_conv_channel_size", lambda facts: [facts.tensors[f"a.conv1d.{n}.weight"][0] for n in "01"]),
        Note("the runtime sees with this class and does not hear: what hears is in the file all the same", lambda c: True),
    ),
    tensors=(
        R("v.conv_stem.conv.weight", EYE + "conv_stem.conv.weight", type="F32"),
        R("v.conv_stem.conv.bias", EYE + "conv_stem.conv.bias", AddAxis(0), AddAxis(-1), AddAxis(-1), shape="stem"),
        R("v.conv_stem.bn.weight", EYE + "conv_stem.bn.weight"),
        *(R(f"v.blk.{{s}}.{{i}}.{part}", BLOCK + part, need=False) for part in PARTS),
        *(R(f"v.{part}", EYE + part) for part in FUSING),
        *embedded("mm.", "embed_vision"), *embedded("mm.a.", "embed_audio"),
        *rows("a.blk.{a}.", EAR, {
            "layer_pre_norm": "norm", "ln1": "attention.pre_attn_norm", "ln2": "attention.post_norm",
            **{f"attn_{x}": f"attention.attn.{x}_proj" for x in "qkv"}, "attn_out": "attention.post",
            "linear_pos": "attention.attn.relative_position_embedding.pos_proj",
            **{gguf + end: f"ffw_layer_{part}.{hf}" for part, end in (("start", ""), ("end", "_1")) for gguf, hf in {
                "ffn_norm": "pre_layer_norm", "ffn_up": "ffw_layer_1", "ffn_down": "ffw_layer_2",
                "ffn_post_norm": "post_layer_norm"}.items()},
            "conv_norm": "lconv1d.pre_layer_norm", "norm_conv": "lconv1d.conv_norm", "conv_pw1": "lconv1d.linear_start",
            "conv_pw2": "lconv1d.linear_end"}),
        R("a.blk.{a}.conv_dw.weight", EAR + "lconv1d.depthwise_conv1d.weight", type="F32"),
        R("a.blk.{a}.per_dim_scale", EAR + "attention.attn.per_dim_scale"),
        *(row for n in "01" for row in (
            R(f"a.conv1d.{n}.weight", f"{SAMPLED}conv_{n}.conv.weight", type="F32"),
            R(f"a.conv1d.{n}.norm.weight", f"{SAMPLED}conv_{n}.norm.weight", need=False))),
        R("a.pre_encode.out.weight", SAMPLED + "input_proj_linear.weight", type="F16"),
    ),
    stacks={"s": Stack("stages")}, shapes=SHAPES_OF_3N, shown=SHOWN_OF_3N,
    sizes={"stages": lambda hp: STAGES, "quarter": lambda hp: halves(hp["mel"], 2)}, example="google/gemma-3n-E4B-it",
)

SPECS = (GEMMA3N,)
