"""Models with an eye and an ear of Gemma 3n."""

# fmt: off
from dataclasses import replace

from . import Tower, blocks, seeing

_T, _C, _E = "model.vision_tower.timm_model.", "model.audio_tower.conformer.{v}.", "model.audio_tower.subsample_conv_projection."
_ATTENTION = {
    "attn.query.proj.weight": (64, 32, 1, 1), "attn.output.proj.weight": (32, 64, 1, 1), "norm.weight": (32,), "layer_scale.gamma": (32,),
    **{f"attn.{name}.{part}.weight": shape for name in ("key", "value") for part, shape in {
        "proj": (16, 32, 1, 1), "down_conv": (32, 1, 3, 3), "norm": (32,)}.items()}}
_RESIDUAL = {"dw_start.conv.weight": (32, 1, 3, 3), "dw_start.bn.weight": (32,), "pw_exp.conv.weight": (64, 32, 1, 1), "pw_exp.bn.weight": (64,),
             "dw_mid.conv.weight": (64, 1, 5, 5), "dw_mid.bn.weight": (64,), "pw_proj.conv.weight": (32, 64, 1, 1), "pw_proj.bn.weight": (32,),
             "layer_scale.gamma": (32,)}
_FIRST = {"conv_exp.weight": (64, 32, 3, 3), "bn1.weight": (64,), "conv_pwl.weight": (32, 64, 1, 1), "bn2.weight": (32,)}
_EYE = {f"{_T}conv_stem.conv.weight": (32, 3, 3, 3), f"{_T}conv_stem.conv.bias": (32,), f"{_T}conv_stem.bn.weight": (32,)} | {
    f"{_T}blocks.{place}.{name}": shape for place, parts in {
        "0.0": _FIRST, "0.1": _FIRST, "1.0": _RESIDUAL, "1.1": _RESIDUAL, "2.0": _RESIDUAL, "2.1": _ATTENTION, "3.0": _ATTENTION,
        "3.1": _RESIDUAL}.items() for name, shape in parts.items()} | {
    f"{_T}msfa.{name}.weight": shape for name, shape in {
        "ffn.pw_exp.conv": (64, 64, 1, 1), "ffn.pw_exp.bn": (64,), "ffn.pw_proj.conv": (64, 64, 1, 1), "ffn.pw_proj.bn": (64,), "norm": (64,)}.items()}
_EAR = blocks(_C, {
    **{name: (64,) for name in ("norm", "attention.pre_attn_norm", "attention.post_norm", "lconv1d.pre_layer_norm", "lconv1d.conv_norm")},
    **{f"attention.attn.{x}": (64, 64) for x in ("q_proj", "k_proj", "v_proj", "relative_position_embedding.pos_proj")}, "attention.post": (64, 64),
    **{f"ffw_layer_{part}.{name}": shape for part in ("start", "end") for name, shape in {
        "pre_layer_norm": (64,), "post_layer_norm": (64,), "ffw_layer_1": (256, 64), "ffw_layer_2": (64, 256)}.items()},
    "lconv1d.linear_start": (128, 64), "lconv1d.linear_end": (64, 64), "lconv1d.depthwise_conv1d": (64, 1, 5)}, bias=False) | {
    f"model.audio_tower.conformer.{b}.attention.attn.per_dim_scale": (16,) for b in range(4)} | {
    _E + "conv_0.conv.weight": (16, 1, 3, 3), _E + "conv_1.conv.weight": (8, 16, 3, 3), _E + "input_proj_linear.weight": (64, 64)}
_BETWEEN = {f"model.embed_{sense}.{name}.weight": shape for sense in ("vision", "audio") for name, shape in {
    "embedding": (8, 64), "hard_embedding_norm": (64,), "soft_embedding_norm": (64,), "embedding_projection": (64, 64)}.items()}
_NORMS = {_E + f"conv_{n}.norm.weight": (16 >> n,) for n in (0, 1)}
_CONFIG = {
    "vision_config": {"model_type": "gemma3n_vision", "architecture": "mobilenetv5_300m_enc", "hidden_size": 64, "vocab_size": 8,
                      "vocab_offset": 550, "rms_norm_eps": 1e-6},
    "audio_config": {"model_type": "gemma3n_audio", "hidden_size": 64, "conf_num_hidden_layers": 4, "conf_num_attention_heads": 4,
                     "conf_conv_kernel_size": 5, "input_feat_size": 32, "sscp_conv_channel_size": [16, 8], "vocab_size": 8, "vocab_offset": 558}}
_IMAGES = {"size": {"height": 256, "width": 256}, "image_seq_length": 64}
_RUNTIME = "aborts on a tower this small"


def _row(name, tensors, **settings):
    model = seeing(name, "gemma3n-vl", _CONFIG, tensors, "model.embed_vision.")
    return Tower(replace(model, fault=replace(model.fault, converter="", keys=())), _IMAGES, runtime=_RUNTIME, **settings)


ROWS = (
    _row("gemma3n-both", _EYE | _EAR | _BETWEEN | _NORMS, fault="knows no norms between the convolutions in front of the ear", hopeless=True),
    _row("gemma3n-plain", _EYE | _EAR | _BETWEEN),
)
