"""Qwen3-TTS with all that makes sound, and the checkpoint of its codec in a folder of its own."""

# fmt: off
from dataclasses import replace

from ..models import MODELS
from ..models.qwen3tts import TALKER, words
from . import Tower, blocks, both

_CP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
       "rms_norm_eps": 1e-6, "rope_theta": 1000000, "hidden_act": "silu", "num_code_groups": 16, "vocab_size": 40, "attention_bias": False}
_M, _V = "talker.code_predictor.", "speaker_encoder."
_BLOCK = {"input_layernorm": (32,), "post_attention_layernorm": (32,), "mlp.gate_proj": (48, 32), "mlp.up_proj": (48, 32), "mlp.down_proj": (32, 48)}
_PREDICTOR = blocks(_M + "model.layers.{v}.", _BLOCK | {
    "self_attn.q_proj": (64, 32), "self_attn.k_proj": (32, 32), "self_attn.v_proj": (32, 32), "self_attn.o_proj": (32, 64), "self_attn.q_norm": (32,),
    "self_attn.k_norm": (32,)}, bias=False) | both(_M, {"small_to_mtp_projection": (32, 64)}) | {_M + "model.norm.weight": (32,)} | {
    f"{_M}{name}.{e}.weight": shape for e in range(15) for name, shape in (("model.codec_embedding", (40, 64)), ("lm_head", (40, 32)))}
_SPEAKERS = both(_V, {
    "blocks.0.conv": (32, 128, 5), "mfa.conv": (96, 96, 1), "asp.tdnn.conv": (16, 288, 1), "asp.conv": (96, 16, 1), "fc": (64, 192, 1)}) | blocks(_V, {
    f"blocks.{n}.{name}": shape for n in (1, 2, 3) for name, shape in {
        "tdnn1.conv": (32, 32, 1), "tdnn2.conv": (32, 32, 1), "se_block.conv1": (16, 32, 1), "se_block.conv2": (32, 16, 1),
        **{f"res2net_block.blocks.{s}.conv": (4, 4, 3) for s in range(7)}}.items()}, count=1)

_Q, _D = "decoder.quantizer.rvq_", "decoder.decoder."


def _book(at: str, n: int):
    return {f"{at}.layers.{n}._codebook.embedding_sum": (40, 16), f"{at}.layers.{n}._codebook.cluster_usage": (40,)}


def _snake(at: str, width: int):
    return {f"{at}.alpha": (width,), f"{at}.beta": (width,)}


def _dac(n: int, wide: int):
    """One that makes the sound longer, and three beside it."""
    at, half = f"{_D}{n + 1}.block.", wide // 2
    return _snake(f"{at}0", wide) | both(at, {"1.conv": (wide, half, 4)}) | {f"{at}1.conv.bias": (half,)} | {
        name: shape for s in (2, 3, 4) for name, shape in {
            **_snake(f"{at}{s}.act1", half), **_snake(f"{at}{s}.act2", half),
            **both(f"{at}{s}.", {"conv1.conv": (half, half, 7), "conv2.conv": (half, half, 1)})}.items()}


_CODEC = {
    **_book(_Q + "first.vq", 0), **{k: v for n in range(15) for k, v in _book(_Q + "rest.vq", n).items()},
    **{f"{_Q}{which}.{side}put_proj.weight": shape for which in ("first", "rest") for side, shape in (("in", (16, 32, 1)), ("out", (32, 16, 1)))},
    **both("decoder.", {"pre_conv.conv": (64, 32, 3), "pre_transformer.input_proj": (32, 64), "pre_transformer.output_proj": (64, 32)}),
    "decoder.pre_transformer.norm.weight": (32,),
    **blocks("decoder.pre_transformer.layers.{v}.", _BLOCK | {f"self_attn.{x}_proj": (32, 32) for x in "qkvo"}, bias=False, count=8),
    **{f"decoder.pre_transformer.layers.{v}.{name}_layer_scale.scale": (32,) for v in range(8) for name in ("self_attn", "mlp")},
    **blocks("decoder.upsample.{v}.", {"0.conv": (64, 64, 2), "1.dwconv.conv": (64, 1, 7), "1.norm": (64,), "1.pwconv1": (256, 64), "1.pwconv2": (64, 256)}, count=2),
    **{f"decoder.upsample.{v}.1.gamma": (64,) for v in range(2)},
    **both(_D, {"0.conv": (64, 64, 7), "6.conv": (1, 4, 7)}), **_snake(_D + "5", 4), **{k: v for n in range(4) for k, v in _dac(n, 64 >> n).items()},
    **{"encoder." + name: shape for name, shape in {
        "encoder.layers.0.conv.weight": (4, 1, 7), "encoder.layers.1.block.3.conv.bias": (4,), "downsample.conv.weight": (8, 8, 4),
        "encoder_transformer.layers.0.mlp.fc1.weight": (16, 8), "quantizer.acoustic_residual_vector_quantizer.layers.3.codebook.embed_sum": (40, 8)}.items()},
}
_SAID = {"model_type": "qwen3_tts_tokenizer_12hz", "architectures": ["Qwen3TTSTokenizerV2Model"], "dtype": "float32", "decoder_config": {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 8, "num_attention_heads": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
    "rope_theta": 10000, "sliding_window": 72, "hidden_act": "silu", "upsampling_ratios": [2, 2], "upsample_rates": [8, 5, 4, 3]}}
_SNAKES = tuple(f"a.gen.wav.dac.{at}.{x}" for x in ("alpha", "beta") for at in (
    "post_snake", *(f"blk.{n}.{part}" for n in range(4) for part in ("snake", *(f"res.{s}.act{i}" for s in range(3) for i in (1, 2))))))

ROWS = (
    Tower(replace(MODELS["qwen3tts"], name="qwen3tts-sound", config={
        "model_type": "qwen3_tts", "talker_config": TALKER | {"code_predictor_config": _CP},
        "speaker_encoder_config": {"enc_dim": 64, "sample_rate": 24000}},
        shapes=lambda config: words(config) | _PREDICTOR | _SPEAKERS, ranges={"cluster_usage": (0.0, 50.0)}, float32=tuple(_CODEC)), {},
          beside={"speech_tokenizer": (_SAID, _CODEC)}, fault="computes exponentials with torch's, some of which it rounds otherwise", drop=_SNAKES,
          cropped=("speech_tokenizer/encoder.", *(f"talker.{name}" for name in ("model.text_embedding", "text_projection"))),
          runtime="makes sound by a way of its own"),
)
