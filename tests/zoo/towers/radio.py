"""Models with RADIO's tower, as small as llama.cpp's converter has none of."""

# fmt: off
import json
from dataclasses import replace
from math import isqrt

import numpy as np

from ..build import header
from ..files import load_folder
from . import CLIP, Tower, blocks, both, pixels, seeing

_RADIO = "vision_model.radio_model."
_P = _RADIO + "model.patch_generator."


def _omni(folder):
    """transformers' class of both towers, which is told RADIO's size by the tensors: config.json says nothing of it."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    held = header(folder / "model.safetensors")
    sound = {"sound_config": dict(said["sound_config"], model_type="parakeet_encoder")} if "sound_config" in said else {}
    radio = {"model_type": "radio", "patch_size": 16, "hidden_size": 64, "num_hidden_layers": sum(n.endswith("attn.qkv.weight") for n in held),
             "num_attention_heads": 4, "mlp_ratio": 1.5, "max_img_size": 16 * isqrt(held[_P + "pos_embed"][1]), "video_temporal_patch_size": 2}
    cls = transformers.NemotronH_Omni_Reasoning_V3
    config = cls.config_class(**(said | sound | {"vision_config": radio}))
    return cls.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager").eval()


def _seen(folder, picture):
    import torch

    x = pixels(folder, picture)[0]
    height, width = x.shape[1] // 16, x.shape[2] // 16
    x = x.reshape(3, height, 16, width, 16).permute(1, 3, 0, 2, 4).reshape(height * width, -1)
    with torch.inference_mode():
        return _omni(folder).get_image_features(x, torch.tensor([[height, width]])).pooler_output[0].numpy()


def _heard(folder, sound):
    """Of all frames, as the runtime takes them: transformers masks the last, which the sound does not fill."""
    import torch

    model = _omni(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["sound_config"]
    wave = torch.from_numpy(sound)
    wave = torch.cat([wave[:1], wave[1:] - 0.97 * wave[:-1]])
    filters, window = (load_folder(folder)[f"{_PARAKEET}feature_extractor.featurizer.{name}"].float() for name in ("fb", "window"))
    power = torch.stft(wave, 512, 160, 400, window, pad_mode="constant", return_complex=True).abs() ** 2
    mel = (filters[0] @ power + 2**-24).log().T
    valid = mel[: len(sound) // 160]
    mel = (mel - valid.mean(0)) / (valid.std(0) + 1e-5)
    assert mel.shape[1] == config["num_mel_bins"]
    with torch.inference_mode():
        return model.get_audio_features(mel[None]).pooler_output.numpy()


def _tower(count):
    return blocks(_RADIO + "model.blocks.{v}.", {
        "norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64), "mlp.fc1": (96, 64), "mlp.fc2": (64, 96)}, count=count) | _AROUND


def _sizes(count):
    return {f"NemotronNanoV2VLModel._vit_{name}": n for name, n in {
        "hidden_size": 64, "intermediate_size": 96, "num_layers": count, "num_heads": 4}.items()}


def _vision(count):
    return {"force_image_size": 128, "downsample_ratio": 0.5, "vit_hidden_size": 64, "projector_hidden_size": 96, "ps_version": "v2", "vision_config": {
        "patch_size": 16, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": count, "num_attention_heads": 4}}


_AROUND = {
    _P + "cls_token.token": (10, 64), _P + "embedder.weight": (64, 768), _P + "pos_embed": (1, 256, 64), _P + "video_embedder.weight": (64, 1536),
    _RADIO + "input_conditioner.norm_mean": (3, 1, 1), _RADIO + "input_conditioner.norm_std": (3, 1, 1)} | both("mlp1.", {
    "0": (256,), "1": (96, 256), "3": (64, 96)}, bias=False)

_UNHELD = (_P + "pos_embed", _P + "video_embedder", _RADIO + "input_conditioner")

_PARAKEET = "sound_encoder.encoder."
_A = _PARAKEET + "layers.{v}."
_EAR = blocks(_A, {name: (64,) for name in ("norm_feed_forward1", "norm_feed_forward2", "norm_self_att", "norm_conv", "norm_out", "conv.norm")}, count=7) | blocks(_A, {
    **{f"feed_forward{n}.linear1": (128, 64) for n in "12"}, **{f"feed_forward{n}.linear2": (64, 128) for n in "12"},
    **{f"self_attn.{x}_proj": (64, 64) for x in ("q", "k", "v", "o", "relative_k")}, "conv.pointwise_conv1": (128, 64, 1), "conv.pointwise_conv2": (64, 64, 1),
    "conv.depthwise_conv": (64, 1, 9)}, bias=False, count=7) | {
    _A.format(v=v) + name: shape for v in range(7) for name, shape in {
        "self_attn.bias_u": (4, 16), "self_attn.bias_v": (4, 16), "conv.norm.running_mean": (64,), "conv.norm.running_var": (64,),
        "conv.norm.num_batches_tracked": ()}.items()} | both(_PARAKEET + "subsampling.", {
    "layers.0": (32, 1, 3, 3), "layers.2": (32, 1, 3, 3), "layers.3": (32, 32, 1, 1), "layers.5": (32, 1, 3, 3), "layers.6": (32, 32, 1, 1),
    "linear": (64, 128)}) | both("sound_projection.", {"norm": (64,), "linear1": (96, 64), "linear2": (64, 96)}, bias=False) | {
    _PARAKEET + "feature_extractor.featurizer.fb": (1, 32, 257), _PARAKEET + "feature_extractor.featurizer.window": (400,)}
_SOUND = {"model_type": "parakeet", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 7, "num_attention_heads": 4, "num_mel_bins": 32,
          "conv_kernel_size": 9, "convolution_bias": False, "subsampling_factor": 8, "subsampling_conv_channels": 32, "subsampling_conv_kernel_size": 3,
          "subsampling_conv_stride": 2, "projection_hidden_size": 96, "projection_bias": False, "sampling_rate": 16000}


def _listening():
    """The row of Nemotron Nano Omni's towers: variances and filters are positive, and convolutions of one frame as small as trained ones."""
    row = seeing("nemotron-omni", "nemotron-vl", _vision(7) | {"sound_config": _SOUND}, _tower(7) | _EAR, "vision_model.", "mlp1.")
    return replace(row, ranges={"running_var": (0.25, 2.0), "featurizer.fb": (0.0, 0.02), "featurizer.window": (0.0, 1.0),
                                "pointwise_conv1.weight": (-0.2, 0.2), "pointwise_conv2.weight": (-0.2, 0.2)}, values={
        f"{_A.format(v=b)}conv.norm.num_batches_tracked": lambda: np.array(1000, np.int64) for b in range(7)})


ROWS = (
    Tower(seeing("nemotron-vl-eye", "nemotron-vl", _vision(4), _tower(4), "vision_model.", "mlp1."), CLIP, cropped=_UNHELD, size=(128, 128), built_in=_sizes(4)),
    # whose table of positions is that of the pictures: transformers resamples it otherwise
    Tower(seeing("nemotron-vl-even", "nemotron-vl", _vision(4), _tower(4) | {_P + "pos_embed": (1, 64, 64)}, "vision_model.", "mlp1."), CLIP,
          cropped=_UNHELD[1:], size=(128, 128), built_in=_sizes(4), features=_seen),
    Tower(_listening(), CLIP, cropped=(*_UNHELD, *(f"{_A.format(v=b)}conv.norm.num_batches" for b in range(7))), size=(32000,), built_in=_sizes(7), features=_heard),
)
