"""Qwen's models that hear, with an eye or without."""

# fmt: off
from functools import partial

from ..models.qwenvl import _OMNI3 as WORDS3
from ..models.qwenvl import _OMNI25 as WORDS25
from ..models.qwenvl import _thinker
from ..models.rows import Model, tensors
from . import CLIP, TEXT, Tower, features
from .qwen_vl import _EYE, _MROPE, _QWEN3
from .speech import ear
from .whisper import EAR

_SINES = "computes sinusoids in float32, as its processor rounds them"
_POSITIONS = ("a.position_embd.weight",)
_BLOCK = {"norm1.weight": (64,), "norm2.weight": (64,), "attn.proj.weight": (64, 64), "attn.proj.bias": (64,)}
_PARTS = ("weight", "bias")


def _eye(prefix: str, block: dict[str, tuple[int, ...]], rest: dict[str, tuple[int, ...]]):
    return {f"{prefix}blocks.{b}.{name}": shape for b in range(4) for name, shape in block.items()} | {
        f"{prefix}{name}": shape for name, shape in rest.items()}


_OMNI25 = _eye("thinker.visual.", _BLOCK | {f"attn.{x}.{p}": (64, 64) if p == "weight" else (64,) for x in "qkv" for p in _PARTS} | {
    f"mlp.{x}_proj.weight": (96, 64) for x in ("gate", "up")} | {"mlp.down_proj.weight": (64, 96)}, {
    "patch_embed.proj.weight": (64, 3, 2, 14, 14), "merger.ln_q.weight": (64,), "merger.mlp.0.weight": (256, 256), "merger.mlp.0.bias": (256,),
    "merger.mlp.2.weight": (64, 256), "merger.mlp.2.bias": (64,)})
_SOUND25 = {name: shape for name, shape in ear("thinker.audio_tower.", after="ln_post").items() if "embed_positions" not in name} | {
    "thinker.audio_tower.proj.weight": (64, 64), "thinker.audio_tower.proj.bias": (64,),
    "thinker.audio_tower.audio_bos_eos_token.weight": (2, 64)}

def _all(words, others):
    """The thinker's text part by its settings, and the other parts."""
    return lambda config: tensors(words)(config["thinker_config"]["text_config"] | {"vocab_size": config["vocab_size"]}) | others


def _spectrum(prefix: str):
    """The tower of Qwen3's models that hear: three convolutions over frequencies and time."""
    out = {name: shape for name, shape in ear(prefix, after="ln_post").items() if "embed_positions" not in name and ".conv" not in name}
    for n, channels in (("1", 1), ("2", 32), ("3", 32)):
        out |= {f"{prefix}conv2d{n}.weight": (32, channels, 3, 3), f"{prefix}conv2d{n}.bias": (32,)}
    return out | {f"{prefix}conv_out.weight": (64, 64), f"{prefix}proj1.weight": (64, 64), f"{prefix}proj1.bias": (64,),
                  f"{prefix}proj2.weight": (64, 64), f"{prefix}proj2.bias": (64,)}


_OMNI3 = _eye("model.visual.", {**_BLOCK, "norm1.bias": (64,), "norm2.bias": (64,), "attn.qkv.weight": (192, 64), "attn.qkv.bias": (192,),
                                "mlp.linear_fc1.weight": (96, 64), "mlp.linear_fc1.bias": (96,), "mlp.linear_fc2.weight": (64, 96),
                                "mlp.linear_fc2.bias": (64,)}, {
    "patch_embed.proj.weight": (64, 3, 2, 16, 16), "patch_embed.proj.bias": (64,), "pos_embed.weight": (64, 64)} | {
    f"{part}.{name}.{p}": shape if p == "weight" else shape[:1] for part in ("merger", "merger_list.0", "merger_list.1")
    for name, shape in (("ln_q", (64 if part == "merger" else 256,)), ("mlp.0", (256, 256)), ("mlp.2", (64, 256))) for p in _PARTS})
_DENSE = _thinker({f"{x}_proj.weight": "intermediate_size hidden_size" for x in ("gate", "up")} | {"down_proj.weight": "hidden_size intermediate_size"},
                  "q_norm", "k_norm")
_TEXT3 = _QWEN3 | {"model_type": "qwen3_omni_moe_text", "rms_norm_eps": 1e-6, "hidden_act": "silu", "vocab_size": 430}
_THINKER3 = {"audio_config": {**EAR, "model_type": "qwen3_omni_moe_audio_encoder", "downsample_hidden_size": 32, "output_dim": 64}}

ROWS = (
    Tower(Model("qwen3omni-both", "Qwen3OmniMoeForConditionalGeneration", "qwen2", {"model_type": "qwen3_omni_moe", "thinker_config": _THINKER3 | {
        "model_type": "qwen3_omni_moe_thinker", "text_config": _TEXT3 | {"moe_intermediate_size": 48, "num_experts": 4, "num_experts_per_tok": 2}, "vision_config": {
            **_EYE, "model_type": "qwen3_omni_moe_vision_encoder", "patch_size": 16, "num_position_embeddings": 64,
            "deepstack_visual_indexes": [1, 2]}}}, shapes=_all(WORDS3, _OMNI3 | _spectrum("thinker.audio_tower."))),
        CLIP, fault=_SINES, drop=_POSITIONS),
    Tower(Model("qwen3asr-hub-ear", "Qwen3ASRForConditionalGeneration", "qwen2", {"model_type": "qwen3_asr", "thinker_config": _THINKER3 | {
        "model_type": "qwen3_asr_thinker", "text_config": _TEXT3 | {"model_type": "qwen3"}}}, shapes=_all(_DENSE, _spectrum("thinker.audio_tower."))),
        {}, fault=_SINES, drop=_POSITIONS, size=(128000,)),
    Tower(Model("qwen25omni-both", "Qwen2_5OmniModel", "qwen2", {"model_type": "qwen2_5_omni", "thinker_config": {
        "model_type": "qwen2_5_omni_thinker", "text_config": TEXT | {
            "model_type": "qwen2_5_omni_text", "head_dim": 16, "rms_norm_eps": 1e-6, "hidden_act": "silu", "vocab_size": 430, "rope_parameters": _MROPE},
        "vision_config": {**_EYE, "model_type": "qwen2_5_omni_vision_encoder", "fullatt_block_indexes": [1, 3]},
        "audio_config": {**EAR, "model_type": "qwen2_5_omni_audio_encoder"}}}, shapes=_all(WORDS25, _OMNI25 | _SOUND25)),
        CLIP, fault=_SINES, drop=_POSITIONS),
    Tower(Model("qwen3asr-ear", "Qwen3ASRForConditionalGeneration", "qwen2", {
        "text_config": _QWEN3 | {"model_type": "qwen3"}, "audio_config": EAR | {"downsample_hidden_size": 32, "output_dim": 64}}), {},
        fault="does not know what transformers saves", hopeless=True,
        size=(128000,), features=partial(features.heard, padded=False)),  # a whole window of attention: in what is left over the runtime also hears silence
)
