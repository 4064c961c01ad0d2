"""What Qwen3-TTS knows voices by and makes sound with: an encoder of speakers, what predicts the other codes of a frame, and
the decoder of its codec, whose checkpoint lies in a folder of the model's.

The codec's encoder, which makes codes of recorded speech, has no place in the file.
Source: llama.cpp `conversion/qwen3tts.py`, `tools/mtmd/clip.cpp`; transformers `models/mimi`; the code published with the model
(`qwen_tts`).
"""

from __future__ import annotations

from .common import *

T, CP, SE = "talker_config", "talker_config.code_predictor_config", "speaker_encoder_config"
FOLDER = "speech_tokenizer"
DC, CODEC = f"{FOLDER}.decoder_config", f"{FOLDER}/decoder."
GROUPS, STAGES, SCALES = 16, 3, 7  # codes of a frame; stages of the encoder of speakers, and convolutions in each
LAYERS, RISES, BLOCKS_OF_SOUND, UNITS = 8, 2, 4, 3  # of the decoder, all of which the runtime has as numbers

PREDICTOR = {"embedding_length": "hidden_size", "feed_forward_length": "intermediate_size", "block_count": "num_hidden_layers",
             "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads"}
FIXED = {
    f"{T}.num_code_groups": GROUPS, f"{CP}.num_code_groups": GROUPS, f"{CP}.rope_theta": 1000000, f"{CP}.hidden_act": "silu",
    f"{CP}.attention_bias": False, f"{SE}.sample_rate": 24000, f"{SE}.mel_dim": 128, f"{SE}.enc_res2net_scale": SCALES + 1,
    f"{DC}.num_hidden_layers": LAYERS, f"{DC}.rms_norm_eps": 1e-5, f"{DC}.rope_theta": 10000, f"{DC}.sliding_window": 72,
    f"{DC}.hidden_act": "silu", f"{DC}.attention_bias": False,
}
WIDE, HEADS_OF_SOUND = 512, 16


def conv(gguf: str, hf: str, type: str | None = None, out: str | None = None) -> tuple[TensorRule, ...]:
    """`out`: how long the bias is, where the weight does not begin with that."""
    return (R(f"{gguf}.weight", f"{hf}.weight", type=type), R(f"{gguf}.bias", f"{hf}.bias", shape=out))


def snake(gguf: str, hf: str, width: str) -> TensorRule:
    return R((f"{gguf}.alpha", f"{gguf}.beta"), (f"{hf}.alpha", f"{hf}.beta"), Snake(), shape=width)


def codebook(which: str, layer: str, **stack: Any) -> tuple[TensorRule, ...]:
    """The rows of the first codebook, or of the others."""
    gguf, hf = f"a.gen.wav.quant.{which}.", f"{CODEC}quantizer.rvq_{which}."
    book = f"{hf}vq.layers.{layer}._codebook."
    return (*(R(f"{gguf}{side}_proj.weight", f"{hf}{side}put_proj.weight", AddAxis(-1, undo=True)) for side in ("in", "out")),
            R(f"{gguf}codebook.weight", (f"{book}embedding_sum", f"{book}cluster_usage"), EmaMean(),
              shape=f"{which}.codes {which}.length; {which}.codes", **stack))


def unit(gguf: str, hf: str, width: str) -> tuple[TensorRule, ...]:
    """Two convolutions beside the sound."""
    return tuple(row for n in "12" for row in (
        snake(f"{gguf}.act{n}", f"{hf}.act{n}", width), *conv(f"{gguf}.conv{n}", f"{hf}.conv{n}.conv", "F16")))


M, V = "talker.code_predictor.", "speaker_encoder."
ATTENDING = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_out": "self_attn.o_proj", "ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
PREDICTING = (
    R("a.gen.code.out_embd.weight", "talker.model.codec_embedding.weight", borrowed=True),
    R("a.gen.code.output_norm.weight", f"{M}model.norm.weight"),
    *rows("a.gen.code.", M, {"proj_in": "small_to_mtp_projection"}, need=False),
    R("a.gen.code.embd.weight", f"{M}model.codec_embedding.{{e}}.weight", each="others"),
    R("a.gen.code.head.weight", f"{M}lm_head.{{e}}.weight", each="others"),
    *(R(f"a.gen.code.blk.{{g}}.{gguf}.weight", f"{M}model.layers.{{g}}.{hf}.weight", type="F32" if gguf == "ffn_down" else None)
      for gguf, hf in {**ATTENDING, "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", **GATED}.items()),
)
SPEAKERS = (
    *conv("a.conv1d.0", f"{V}blocks.0.conv"),
    *(row for n in range(1, STAGES + 1) for gguf, hf in {
        "conv_pw1": "tdnn1.conv", "conv_pw2": "tdnn2.conv", "se_conv1": "se_block.conv1", "se_conv2": "se_block.conv2",
        **{f"res2.{s}": f"res2net_block.blocks.{s}.conv" for s in range(SCALES)}}.items()
      for row in conv(f"a.blk.{n}.{gguf}", f"{V}blocks.{n}.{hf}")),
    *conv("a.conv_out", f"{V}mfa.conv"), *conv("a.asp_attn", f"{V}asp.conv"), *conv("a.asp_tdnn", f"{V}asp.tdnn.conv"),
    *conv("mm.a.fc", f"{V}fc"),
)
W, UP, DAC = "a.gen.wav.", f"{CODEC}upsample.", f"{CODEC}decoder."
SOUND = (
    *codebook("first", "0"), *codebook("rest", "{e}", each="others"),
    *conv(f"{W}pre_conv", f"{CODEC}pre_conv.conv", "F16"),
    *(row for side in ("in", "out") for row in conv(f"{W}tfm.{side}_proj", f"{CODEC}pre_transformer.{side}put_proj")),
    R(f"{W}tfm.output_norm.weight", f"{CODEC}pre_transformer.norm.weight"),
    *(R(f"{W}tfm.blk.{{l}}.{gguf}.weight", f"{CODEC}pre_transformer.layers.{{l}}.{hf}") for gguf, hf in {
        **{gguf: f"{hf}.weight" for gguf, hf in {**ATTENDING, **GATED}.items()},
        "ls1": "self_attn_layer_scale.scale", "ls2": "mlp_layer_scale.scale"}.items()),
    *(row for gguf, hf, kind in (("conv", "0.conv", "F32"), ("dwconv", "1.dwconv.conv", "F16"), ("norm", "1.norm", None),
                                 ("pw1", "1.pwconv1", None), ("pw2", "1.pwconv2", None))
      for row in conv(f"{W}up.blk.{{u}}.{gguf}", f"{UP}{{u}}.{hf}", kind)),
    R(f"{W}up.blk.{{u}}.gamma", f"{UP}{{u}}.1.gamma"),
    *conv(f"{W}dac.entry", f"{DAC}0.conv", "F16"),
    *(row for n in range(BLOCKS_OF_SOUND) for at in (f"{W}dac.blk.{n}.",) for hf in (f"{DAC}{n + 1}.block.",) for row in (
        snake(f"{at}snake", f"{hf}0", f"dac.{n}"), *conv(f"{at}conv", f"{hf}1.conv", "F32", f"dac.{n + 1}"),
        *(row for s in range(UNITS) for row in unit(f"{at}res.{s}", f"{hf}{s + 2}", f"dac.{n + 1}")))),
    snake(f"{W}dac.post_snake", f"{DAC}{BLOCKS_OF_SOUND + 1}", f"dac.{BLOCKS_OF_SOUND}"),
    *conv(f"{W}dac.post_conv", f"{DAC}{BLOCKS_OF_SOUND + 2}.conv", "F16"),
)
# What makes codes of sound, as transformers calls it, and as it did.
MIMI = f"{FOLDER}/encoder."
ENCODING = tuple(Template(MIMI + name) for name in (
    *(f"{net}.layers.{{s}}.{name}.{{p}}" for net in ("encoder", "encoder_seanet") for name in ("conv", "block.{t}.conv")),
    *(f"encoder_transformer.layers.{{s}}.{name}" for name in (
        *(f"self_attn.{x}_proj.weight" for x in "qkvo"), "mlp.fc1.weight", "mlp.fc2.weight", "input_layernorm.{p}",
        "post_attention_layernorm.{p}", "self_attn_layer_scale.scale", "mlp_layer_scale.scale")),
    "downsample.conv.weight",
    *(f"quantizer.{kind}_residual_vector_quantizer.{name}" for kind in ("semantic", "acoustic") for name in (
        "input_proj.weight", "output_proj.weight", *(f"layers.{{s}}.codebook.{x}" for x in (
            "initialized", "cluster_usage", "embed_sum"))))))

# -- shapes: predictor and decoder, then the encoder of speakers, whose channels are dealt to its small convolutions ---------

CODE, BEHIND = "a.gen.code.", f"dac.{BLOCKS_OF_SOUND}"
SHAPES_OF_SOUND = {
    **lengths(CODE, {"out_embd": "first_codes text", "output_norm": "g.width", "proj_in": "g.width text", "embd": "codes text",
                     "head": "codes g.width"}),
    **block(f"{CODE}blk.{{g}}.", "g.width", "g.inner", "g.head"),
    **lengths(f"{CODE}blk.{{g}}.", {"attn_q": "g.heads*g.head g.width", "attn_out": "g.width g.heads*g.head",
                                    "attn_k attn_v": "g.kv*g.head g.width"}),
    **{f"{W}quant.{which}.{name}": shape for which in ("first", "rest") for name, shape in {
        "in_proj": f"{which}.length quantized 1", "out_proj": f"quantized {which}.length 1"}.items()},
    **block(f"{W}tfm.blk.{{l}}.", "w.width", "w.inner", ""),
    **lengths(f"{W}tfm.blk.{{l}}.", {"attn_q": "w.rows w.width", "attn_k attn_v": "w.kv_rows w.width",
                                     "attn_out": "w.width w.rows"}),
    **lengths(W, {"pre_conv": "w.around quantized w.pre", "tfm.in_proj": "w.width w.around", "tfm.out_proj": "w.around w.width",
                  "tfm.output_norm": "w.width", "dac.entry": "dac.0 w.around dac.kernel",
                  "dac.post_conv": f"1 {BEHIND} dac.last"}),
    **lengths(f"{W}up.blk.{{u}}.", {"conv": "w.around w.around rise.{u}", "dwconv": "w.around 1 w.kernel",
                                    "norm gamma": "w.around", "pw1": "4*w.around w.around", "pw2": "w.around 4*w.around"}),
    **{f"{W}dac.blk.{n}.{name}": shape for n in range(BLOCKS_OF_SOUND) for name, shape in {
        "conv": f"dac.{n} dac.{n + 1} dac.{n}.rate", **{
            f"res.{s}.conv{i}": f"dac.{n + 1} dac.{n + 1} {kernel}"
            for s in range(UNITS) for i, kernel in ((1, "dac.kernel"), (2, "1"))}}.items()},
    "a.conv1d.0": "speaking mel speaking.kernel", "a.conv_out": "pooled joined 1", "a.asp_attn": "pooled attending 1",
    "a.asp_tdnn": "attending 3*pooled 1", "mm.a.fc": "speaker 2*pooled 1",
    **{f"a.blk.{n}.{name}": shape for n in range(1, STAGES + 1) for name, shape in {
        "conv_pw1": f"{SCALES + 1}*part.{n} {f'{SCALES + 1}*part.{n - 1}' if n > 1 else 'speaking'} 1",
        "conv_pw2": f"{SCALES + 1}*part.{n} {SCALES + 1}*part.{n} 1", "se_conv1": f"squeezed {SCALES + 1}*part.{n} 1",
        "se_conv2": f"{SCALES + 1}*part.{n} squeezed 1",
        **{f"res2.{s}": f"part.{n} part.{n} part.{n}.kernel" for s in range(SCALES)}}.items()}}
SHOWN_OF_SOUND = {
    "first_codes": Shown("the text model's file has the table", (f"{T}.vocab_size",)),
    "codes": Shown("the runtime sees it in the tensors", (f"{CP}.vocab_size",)),
    "g.head": Shown("the runtime sees it in the tensors", (f"{CP}.head_dim",)),
    "speaker": Shown("the runtime adds it to the text", (f"{SE}.enc_dim",)),
    **{name: Shown("of the codec, which the runtime knows by its tensors") for name in (
        "first.length", "first.codes", "rest.length", "rest.codes", "quantized", "rise.{u}", "dac.kernel", "dac.last",
        *(f"w.{name}" for name in ("width", "inner", "rows", "kv_rows", "around", "pre", "kernel")),
        *(f"dac.{n}" for n in range(BLOCKS_OF_SOUND + 1)), *(f"dac.{n}.rate" for n in range(BLOCKS_OF_SOUND)))},
    **{name: Shown("of the encoder of speakers, which the runtime knows by its tensors") for name in (
        "speaking", "speaking.kernel", "pooled", "joined", "attending", "squeezed",
        *(f"part.{n}{of}" for n in range(1, STAGES + 1) for of in ("", ".kernel")))}}

QWEN3_TTS = towered(
    "qwen3_tts", ("Qwen3TTSForConditionalGeneration",),
    hparams=(
        *(rule for side in ("audio", "gen.audio") for rule in (
            Const(f"has_{side.replace('.', '_')}_encoder", True, BOOL),
            Computed(f"{side}.projection_dim", lambda c: c[T]["hidden_size"]))),
        projector_type("qwen3tts_spkenc", "audio.projector_type"), projector_type("qwen3tts_gen", "gen.audio.projector_type"),
        # Of the encoder of speakers the runtime reads one of them, and has the sizes of its convolutions from the tensors.
        *(Const(f"audio.{key}", value) for key, value in {
            "num_mel_bins": 128, "block_count": STAGES, "embedding_length": 1536, "attention.head_count": 1,
            "feed_forward_length": 1536}.items()),
        Const(f"audio.{NORM}", 1e-5, F32),
        *(H(f"gen.audio.{key}", f"{CP}.{hf}") for key, hf in PREDICTOR.items()),
        H(f"gen.audio.{NORM}", f"{CP}.rms_norm_eps", F32),
        *(Fixed(path, value, refuse=True) for path, value in FIXED.items()),
        Note(f"the runtime takes codecs {WIDE} wide, of {HEADS_OF_SOUND} heads, and stops at this one",
             lambda c: (get_path(c, f"{DC}.hidden_size"), get_path(c, f"{DC}.num_attention_heads")) != (WIDE, HEADS_OF_SOUND)),
    ),
    tensors=(*PREDICTING, *SPEAKERS, *SOUND),
    shapes=SHAPES_OF_SOUND, shown=SHOWN_OF_SOUND,
    stacks={"g": Stack("gen.audio.block_count"), "l": Stack("sound_layers"), "u": Stack("rises")},
    sizes={"g.width": lambda hp: hp["gen.audio.embedding_length"], "g.inner": lambda hp: hp["gen.audio.feed_forward_length"],
           "g.heads": lambda hp: hp["gen.audio.attention.head_count"],
           "g.kv": lambda hp: hp["gen.audio.attention.head_count_kv"], "others": lambda hp: GROUPS - 1,
           "sound_layers": lambda hp: LAYERS, "rises": lambda hp: RISES},
    ignore=ENCODING, text=T, beside=FOLDER, example="Qwen/Qwen3-TTS-12Hz-1.7B-Base",
)

SPECS = (QWEN3_TTS,)
