"""Pocket TTS, with the config.json that stands for its sizes."""

# fmt: off
from typing import Any

import numpy as np

from .rows import GELU, Fault, Model, Shapes, tensors

_F, _B = "flow_lm.", "flow_lm.transformer.layers.{b}."
WORDS = tensors({
    _F + "bos_emb": "8", _F + "input_linear.weight": "hidden_size 8", _F + "out_norm.weight": "hidden_size", _F + "out_norm.bias": "hidden_size",
    **{f"{_B}norm{n}.{p}": "hidden_size" for n in "12" for p in ("weight", "bias")},
    _B + "self_attn.in_proj.weight": "3*hidden_size hidden_size", _B + "self_attn.out_proj.weight": "hidden_size hidden_size",
    _B + "linear1.weight": "intermediate_size hidden_size", _B + "linear2.weight": "hidden_size intermediate_size"})
VOICE = "<|bos_before_voice|>"


def words(config: dict[str, Any]) -> Shapes:
    voiced = VOICE in config["tokens_behind"]
    out = WORDS(config) | {_F + "conditioner.embed.weight": (config["vocab_size"] - 1 - voiced, config["hidden_size"])}
    return out | ({_F + "bos_before_voice": (1, 1, config["hidden_size"])} if voiced else {})


def config(pieces: int, voiced: bool) -> dict[str, Any]:
    behind = ["<|pad|>", *[VOICE] * voiced, "<|audio_bos|>"]
    return {"model_type": "pockettts", "model_variant": "model", "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 192,
            "num_attention_heads": 2, "max_position_embeddings": 4096, "rope_theta": 10000.0, "layer_norm_eps": 1e-5,
            "vocab_size": pieces + len(behind), "tokens_behind": behind,
            "audio_config": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 96}}


_PIECES = 283
_SUMS = {"values": {_F + "bos_emb": lambda n: np.array([1, -1, 1, 1, -1, 1, 2, -2], np.float32)}}  # whose order does not matter
_FAULT = Fault(keys=("tokenizer.ggml.unknown_token_id",))  # without it the runtime takes </s>
_LOST = "the latent that starts a sound is not told by the row that is made of it"
ROWS = tuple(Model(f"pocket-tts{end}", "PocketTTSModel", "pocket", config(_PIECES, voiced), vocab_keys=(), shapes=words, fault=_FAULT, lost=_LOST,
                   tolerance=GELU, **_SUMS) for end, voiced in (("", False), ("-voiced", True)))
