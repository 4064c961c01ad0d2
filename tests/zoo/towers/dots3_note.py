"""Models with the towers of dots3-note."""

# fmt: off
from ..models.dots3_note import _WHOLE
from . import HALF, Tower, blocks, both, seeing

_EYE = {"embed_dim": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 14, "rms_norm_eps": 1e-5,
        "spatial_merge_size": 2, "pyramid_num_routed": [-1, -1, 2, 3], "capacity_factor": 2, "adapter_type": "patch_merger", "pre_pixel_shuffle": True,
        "router_scoring_func": "sigmoid", "router_scale": 1.0, "temporal_patch_size": 1, "use_bias": False, "use_qk_norm": True, "adapter_out_dim": 64}
_EAR = {"whisper_config": {"d_model": 64, "encoder_ffn_dim": 96, "encoder_layers": 4, "encoder_attention_heads": 4, "num_mel_bins": 80,
                           "activation_function": "swiglu"}, "use_conv2d_stem": True, "use_rope": True, "use_rms_norm": True, "use_causal": False,
        "merge_factor": 1, "chunk_seconds": 60, "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000.0}}
_V, _A = "vision_encoder.", "audio_encoder.dots_encoder.speech_encoder."
_GATE = {"fc1": (96, 64), "fc3": (96, 64), "fc2": (64, 96)}
_TOWERS = blocks(_V + "blocks.{v}.", {
    "norm_1": (64,), "norm_2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64), "attn.q_norm": (16,), "attn.k_norm": (16,)}, bias=False) | blocks(
    _V + "blocks.{v}.mlp.", _GATE, bias=False, count=2) | {
    f"{_V}blocks.{v}.mlp.experts.{e}.{name}.weight": (shape[0] // 2, 64) if name != "fc2" else (64, 48)
    for v, count in ((2, 2), (3, 3)) for e in range(count) for name, shape in _GATE.items()} | {
    f"{_V}blocks.{v}.mlp.{name}": shape for v, n in ((2, 2), (3, 3)) for name, shape in {"gate_weight": (n, 64), "router_bias": (n,)}.items()} | both(
    _V, {"patch_embed.proj": (64, 3, 14, 14), "adapter.ln_q": (64,), "adapter.mlp.0": (256, 256), "adapter.mlp.2": (64, 256)}) | both(
    _V, {"patch_embed.norm": (64,), "post_trunk_norm": (64,)}, bias=False) | blocks(_A + "layers.{v}.", {
        "self_attn.q_proj": (64, 64), "self_attn.v_proj": (64, 64), "self_attn.out_proj": (64, 64), "fc1": (192, 64), "fc2": (64, 96)}) | blocks(
    _A + "layers.{v}.", {"self_attn.k_proj": (64, 64), "self_attn_layer_norm": (64,), "final_layer_norm": (64,)}, bias=False) | both(_A, {
        "conv2d1": (32, 1, 3, 3), "conv2d2": (32, 32, 3, 3), "conv2d3": (32, 32, 3, 3)}) | both(_A, {"conv_out": (64, 320), "layer_norm": (64,)}, bias=False) | both(
    "audio_encoder.audio_adapter.", {"proj.0": (64,), "proj.1": (96, 64), "proj.3": (64, 96)})

ROWS = (
    # under a model_type that transformers does not know, which has other settings than the Hub
    Tower(seeing("dots3-eye", "dots3", _WHOLE | {"model_type": "dots3", "vision_config": _EYE, "audio_config": _EAR}, _TOWERS, "vision_", "audio_"),
          {"vision_config": HALF | {"min_pixels": 3136, "max_pixels": 12544}}),
)
