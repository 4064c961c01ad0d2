"""MiMo-V2.5, which sees and hears; the ear's codec has a folder of its own."""

# fmt: off
from . import CLIP, Tower, blocks, both, seeing
from .speech import ear

_ROWS = (4 + 2 * 2) * 16
_EYE = blocks("visual.blocks.{v}.", {"attn.qkv": (_ROWS, 64), "attn.proj": (64, 64), "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64),
                                     "mlp.down_proj": (64, 96)}) | blocks("visual.blocks.{v}.", {"norm1": (64,), "norm2": (64,)}, bias=False) | {
    f"visual.blocks.{v}.attn.sinks": (4,) for v in (1, 2)} | both("visual.merger.", {"mlp.0": (256, 256), "mlp.2": (64, 256)}) | {
    "visual.merger.ln_q.weight": (64,), "visual.patch_embed.proj.weight": (64, 3, 2, 14, 14)}
_LOCAL = "audio_encoder.input_local_transformer."
_WORDS = blocks(_LOCAL + "layers.{v}.", {f"self_attn.{x}_proj": (64, 64) for x in "qkv"}, count=2) | blocks(_LOCAL + "layers.{v}.", {
    "self_attn.o_proj": (64, 64), "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96), "input_layernorm": (64,),
    "post_attention_layernorm": (64,)}, bias=False, count=2) | {
    f"{_LOCAL}norm.weight": (64,), "audio_encoder.projection.mlp.0.weight": (96, 128), "audio_encoder.projection.mlp.2.weight": (64, 96)} | {
    f"speech_embeddings.{e}.weight": (24, 64) for e in range(3)}
_SIZES = (20, 12, 12)
_TOWER = {name: shape for name, shape in ear("encoder.").items() if "embed_positions" not in name} | {
    "encoder.down_sample_layer.0.weight": (64, 64, 2), **both("encoder.", {"down_sample_norm": (64,)})}
_CODEC = _TOWER | {f"encoder.quantizer.vq.layers.{e}._codebook.{name}": shape for e, n in enumerate(_SIZES)
                   for name, shape in (("embed", (n, 64)), ("embed_avg", (n, 64)), ("cluster_size", (n,)), ("inited", (1,)))} | {
    "decoder.conv.weight": (64, 64, 3)}
_SETTINGS = {
    "model_type": "mimo_audio_tokenizer", "d_model": 64, "encoder_layers": 4, "encoder_ffn_dim": 96, "encoder_attention_heads": 4, "n_mels": 16,
    "encoder_attn_window_size": [8, 0], "hybrid_attention": True, "swa_per_block": 2, "num_quantizers": 3, "codebook_size": [20, 12],
    "encoder_skip_layer_id": 3, "avg_pooler": 2, "kernel_size": 3, "stride_size": 2, "encoder_causal": True, "ln_type": "LayerNorm",
    "activation_function": "gelu", "rope_theta": 10000, "sampling_rate": 24000, "nfft": 960, "window_size": 960, "hop_length": 240, "fmin": 0,
    "decoder_layers": 1}

ROWS = (
    Tower(seeing("mimo25-both", "mimo25-parts", {
        "vision_config": {
            "depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "num_key_value_heads": 2, "qk_channels": 16, "patch_size": 14,
            "temporal_patch_size": 2, "spatial_merge_size": 2, "in_channels": 3, "out_hidden_size": 64, "hidden_act": "silu", "use_sink": True,
            "fullatt_block_indexes": [0, 3], "vit_window_attn_types": [-1, 0, 1, -1], "visual_token_window_size": 8, "image_size": 112},
        "audio_config": {"audio_channels": 3, "group_size": 2, "input_local_layers": 2, "input_local_dim": 64, "input_local_attn_heads": 4,
                         "input_local_intermediate_size": 96, "input_local_rope_theta": 640000, "input_full_attention": True}},
                 _EYE | _WORDS, "visual.", "audio_encoder.", "speech_embeddings."),
          CLIP | {"min_pixels": 3136, "max_pixels": 1003520, "patch_size": 14, "merge_size": 2}, beside={"audio_tokenizer": (_SETTINGS, _CODEC)},
          lost=("audio_tokenizer/decoder.",)),
)
