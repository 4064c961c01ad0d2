"""Models that hear with a conformer."""

# fmt: off
import numpy as np

from ..models.lfm2 import _BOTH_WAYS, both_ways
from ..models.rows import THETA, Model
from . import TEXT, Tower, blocks, both, loaded

_GRANITE = TEXT | {"model_type": "granite", "rope_parameters": THETA, "tie_word_embeddings": True}
_EAR = {"input_dim": 32, "num_layers": 4, "hidden_dim": 64, "feedforward_mult": 2, "num_heads": 4, "output_dim": 32, "context_size": 24,
        "max_pos_emb": 32, "conv_kernel_size": 7}
_QUERIES = {"model_type": "blip_2_qformer", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "encoder_hidden_size": 64, "cross_attention_frequency": 1, "vocab_size": 8}
_FRAMES = {"feature_extractor_type": "GraniteSpeechFeatureExtractor", "melspec_kwargs": {
    "sample_rate": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 16}}
_NORM = tuple(f"encoder.layers.{b}.conv.batch_norm." for b in range(4))
_MISNAMED = "names the norm behind the convolution as the runtime does not"
_NORMS = tuple(f"a.blk.{b}.{name}.{p}" for b in range(4) for name in ("conv_norm", "conv_norm_var") for p in ("weight", "bias"))



def _seen(block: str):
    """What norms have seen in training: variances, and how often."""
    return {"ranges": {"running_var": (0.25, 2.0)}, "values": {
        f"{block}{b}.conv.batch_norm.num_batches_tracked": lambda: np.array(1000, np.int64) for b in range(7)}}


def _heard(folder, sound):
    """What transformers makes of two mel frames at a time; its own frames need torchaudio."""
    import torch
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(257, 16, 0, 8000, 16000, norm=None, mel_scale="htk").astype("float32")
    waves = torch.stft(torch.from_numpy(sound), 512, 160, 400, torch.hann_window(400), return_complex=True).abs() ** 2
    mel = (waves.T @ torch.from_numpy(filters)).clip(min=1e-10).log10()
    mel = torch.maximum(mel, mel.max() - 8).div(4).add(1)
    with torch.inference_mode():
        out = loaded(folder).get_audio_features(mel[: len(mel) // 2 * 2].reshape(1, -1, 32))
    out = getattr(out, "pooler_output", out)
    return out.reshape(-1, out.shape[-1]).numpy()


_C = "conformer.layers.{v}."
_LFM = blocks(_C, {
    **{f"norm_{name}": (64,) for name in ("feed_forward1", "feed_forward2", "self_att", "conv", "out")}, "conv.batch_norm": (64,),
    **{f"feed_forward{n}.linear1": (128, 64) for n in "12"}, **{f"feed_forward{n}.linear2": (64, 128) for n in "12"},
    **{f"self_attn.linear_{x}": (64, 64) for x in ("q", "k", "v", "out")}, "conv.pointwise_conv1": (128, 64, 1),
    "conv.pointwise_conv2": (64, 64, 1), "conv.depthwise_conv": (64, 1, 9)}, count=7) | {
    _C.format(v=v) + name: shape for v in range(7) for name, shape in {
        "self_attn.linear_pos.weight": (64, 64), "self_attn.pos_bias_u": (4, 16), "self_attn.pos_bias_v": (4, 16),
        "conv.batch_norm.running_mean": (64,), "conv.batch_norm.running_var": (64,), "conv.batch_norm.num_batches_tracked": ()}.items()} | both(
    "conformer.pre_encode.", {"conv.0": (32, 1, 3, 3), "conv.2": (32, 1, 3, 3), "conv.3": (32, 32, 1, 1), "conv.5": (32, 1, 3, 3),
                              "conv.6": (32, 32, 1, 1), "out": (64, 64)}) | both(
    "audio_adapter.model.", {"0": (64,), "1": (64, 64), "3": (64, 64)}) | {
    "audio_embedding.embedding.weight": (72, 64), "audio_embedding.embedding_norm.weight": (64,), "audio_embedding.to_logits.weight": (72, 64),
    "codebook_offsets": (8,), "audio_loss_weights": (8,), "depth_linear.weight": (256, 64), "depth_linear.bias": (256,)} | {
    f"depth_embeddings.{n}.{name}.weight": shape for n in range(8) for name, shape in {
        "embedding": (9, 32), "embedding_norm": (32,), "to_logits": (9, 32)}.items()} | {
    f"depthformer.layers.0.{name}.weight": shape for name, shape in {
        "operator_norm": (32,), "ffn_norm": (32,), "operator.qkv_proj": (64, 32), "operator.out_proj": (32, 32),
        "operator.bounded_attention.q_layernorm": (8,), "operator.bounded_attention.k_layernorm": (8,), "feed_forward.w1": (64, 32),
        "feed_forward.w2": (32, 64), "feed_forward.w3": (64, 32)}.items()}
_SAMPLED = {"sample_rate": 16000, "normalize": "per_feature", "window_size": 0.025, "window_stride": 0.01, "features": 64, "n_fft": 512}


def _with_words(config):
    words = both_ways(config["lfm"] | {"vocab_size": config["vocab_size"]})
    return {f"lfm.{name}": shape for name, shape in words.items()} | _LFM


ROWS = (
    Tower(Model("granite-ear", "GraniteSpeechForConditionalGeneration", "llama3", {
        "text_config": _GRANITE, "has_lora_adapter": False, "encoder_config": _EAR, "projector_config": _QUERIES}, **_seen("encoder.layers.")), _FRAMES,
          fault=_MISNAMED, drop=_NORMS, cropped=_NORM, size=(32000,), features=_heard),
    Tower(Model("granite-plus-ear", "GraniteSpeechPlusForConditionalGeneration", "llama3", {
        "text_config": _GRANITE, "has_lora_adapter": False, "encoder_config": _EAR | {"cat_hidden_layers": [0, 3]},
        "projector_config": _QUERIES | {"encoder_hidden_size": 192}}, **_seen("encoder.layers.")), _FRAMES, fault=_MISNAMED, drop=_NORMS, cropped=_NORM, size=(32000,), features=_heard),
    Tower(Model("lfm2-audio-ear", "Lfm2AudioForConditionalGeneration", "lfm2", {
        "model_type": "lfm2_audio", "codebooks": 8, "tie_audio_embeddings": False, "preprocessor": _SAMPLED,
        "encoder": {"feat_in": 64, "n_layers": 7, "d_model": 64, "n_heads": 4, "ff_expansion_factor": 2, "subsampling": "dw_striding",
                    "subsampling_factor": 8, "subsampling_conv_channels": 32, "conv_kernel_size": 9, "self_attention_model": "rel_pos",
                    "conv_norm_type": "batch_norm", "xscaling": False},
        "lfm": _BOTH_WAYS | {"architectures": ["Lfm2ForCausalLM"], "vocab_size": 426}}, shapes=_with_words, **_seen("conformer.layers.")), {},
          cropped=tuple(f"conformer.layers.{b}.conv.batch_norm." for b in range(7)),
          fault="computes norms with torch's root, which rounds some otherwise",
          drop=tuple(f"a.blk.{b}.conv_norm.{p}" for b in range(7) for p in ("weight", "bias")), runtime="takes towers 512 wide"),
)
