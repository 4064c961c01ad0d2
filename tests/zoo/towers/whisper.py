"""Models with a tower of Whisper."""

# fmt: off
from ..models.rows import THETA, Model
from . import TEXT, Tower, loaded, mel

EAR = {"encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 96, "d_model": 64, "num_mel_bins": 16, "max_source_positions": 1500}

def _features(folder, sound):
    import torch

    with torch.inference_mode():
        model = loaded(folder).model
        out = model.multi_modal_projector(model.audio_tower(mel(folder, sound)).last_hidden_state)
    return out.reshape(-1, out.shape[-1]).numpy()


ROWS = (
    Tower(Model("qwen2-audio-ear", "Qwen2AudioForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"model_type": "qwen2", "rope_parameters": THETA}, "audio_config": EAR}), {}, size=(480000,), features=_features, tolerance=4e-3),
)
