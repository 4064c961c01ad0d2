"""Deterministic weights: integer hashing only, so that digests hold on every machine and for every library version."""

import hashlib
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def bits(name: str, count: int) -> np.ndarray:
    """`count` 64-bit words, a splitmix64 stream keyed by the digest of `name`."""
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<u8")[0]
    with np.errstate(over="ignore"):
        z = key + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bell(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of mean 0 and deviation 1, made from integers; one in 64 is four times as large.

    Trained weights have such outliers; they make block scales and fallbacks work for their living.
    """
    words = bits(name, int(np.prod(shape)))
    total = sum(((words >> np.uint64(12 * part)) & np.uint64(0xFFF)).astype(np.int64) for part in range(4))
    values = (total - 2 * 0xFFF).astype(np.float64) * (1.0 / 2364.0)
    values[(words >> np.uint64(58)) == 0] *= 4.0
    return values.astype(np.float32).reshape(shape)


def even(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """float32 values spread evenly over [low, high)."""
    words = bits(name, int(np.prod(shape))) >> np.uint64(40)
    return (low + (high - low) * (words.astype(np.float64) * 2.0**-24)).astype(np.float32).reshape(shape)


def parameter(name: str, shape: tuple[int, ...], zero_centred_norms: bool = False,
              ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})) -> np.ndarray:
    """A plausible float32 value for the parameter `name`: norms around 1 (0 where the model adds 1), biases off 0,
    state-space decays in their usual range, matrices scaled by their fan-in; `ranges` (ending -> low, high) comes first."""
    for ending, (low, high) in ranges.items():
        if name.endswith(ending):
            return even(name, shape, low, high)
    last = name.rsplit(".", 1)[-1]
    if last == "A_log":
        return even(name, shape, 0.0, 2.75)
    if last == "dt_bias":
        return even(name, shape, -4.0, 1.0)
    if last in ("layer_scalar", "per_expert_scale", "scale"):
        return even(name, shape, 0.6, 1.4)
    if last == "e_score_correction_bias":
        return even(name, shape, -0.2, 0.2)
    if last.endswith("bias") or last == "sinks":
        return 0.15 * bell(name, shape)
    if len(shape) == 1:
        # the gated norm of linear attention is a plain one, also in models whose other norms are stored minus 1
        centre = 0.0 if zero_centred_norms and not name.endswith("linear_attn.norm.weight") else 1.0
        return centre + 0.2 * bell(name, shape)
    if last == "position_embedding_table" or "embed" in name or ".wte." in f".{name}" or ".wpe." in f".{name}":
        return 0.6 * bell(name, shape)
    if "conv1d" in name:
        return 0.4 * bell(name, shape)
    fan_in = int(np.prod(shape[1:])) if len(shape) != 3 else shape[-1]
    return np.float32(1.3 / math.sqrt(fan_in)) * bell(name, shape)
