"""Rotary position settings: `rope_parameters` <-> `rope.*` key-values and the factor tensors that stand for them.

GGUF has keys for linear and yarn scaling, but holds llama3 scaling only as a tensor of frequency divisors
(`rope_freqs.weight`), and longrope as two tensors. Source: llama.cpp `llama-hparams.h`, `ggml_rope_ext`, and
transformers `modeling_rope_utils.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..io.values import Metadata, f32, string, u32
from .facts import Config, GgufFacts, Missing
from .hf_config import full_attention_rope
from .hparam_rules import short
from .spec import Derived, Hparams

# config key of yarn -> GGUF key below rope.scaling.
YARN = (
    ("extrapolation_factor", "yarn_ext_factor"),
    ("attention_factor", "yarn_attn_factor"),
    ("beta_fast", "yarn_beta_fast"),
    ("beta_slow", "yarn_beta_slow"),
)
KINDS = {"rope.scaling.type": str, "rope.scaling.original_context_length": int,
         **dict.fromkeys(("rope.freq_base", "rope.freq_base_swa", "rope.scaling.factor",
                          *(f"rope.scaling.{key}" for _, key in YARN)), (int, float))}
OTHER_KINDS = ("default", "llama3", "longrope", "su", "proportional")  # scaled by tensors, or not at all


@dataclass(frozen=True)
class Rope:
    """`rope.freq_base`, `rope.freq_base_swa` and `rope.scaling.*`.

    `longrope_type`: write the type of longrope scaling (Phi-3 does not; its tensors suffice).
    `default_theta`: the base of a file without `rope.freq_base`; `write_base` False leaves the key out where it is this.
    `default_sliding_theta`: that of the layers with sliding attention, in models where these have settings of their own.
    """

    write_base: bool = True
    write_scaling: bool = True
    default_theta: float = 10000.0
    default_sliding_theta: float | None = None
    writes: tuple[str, ...] = ("rope.freq_base", "rope.freq_base_swa", "rope.scaling")
    fills: tuple[str, ...] = ("rope_parameters",)

    def write(self, config: Config, notes: list[str]) -> Metadata:
        rope = full_attention_rope(config)
        kind, factor = rope["rope_type"], rope.get("factor")
        out: Metadata = {}
        if kind not in (*OTHER_KINDS, "linear", "yarn"):
            raise UnsupportedError(
                f"rope_type {kind!r} has no GGUF form", file="config.json", expected="linear, yarn, llama3 or longrope",
                found=kind, hint="Without its rotary scaling the model would answer wrongly on long texts.")
        if self.write_scaling and kind in ("linear", "yarn") and factor is not None:
            out["rope.scaling.type"] = string(kind)
            out["rope.scaling.factor"] = f32(factor)
            if kind == "yarn":
                out["rope.scaling.original_context_length"] = u32(_original_context(config, rope))
                values = {**rope, "attention_factor": rope.get("attention_factor", rope.get("attn_factor"))}
                for hf, key in YARN:
                    if values.get(hf) is not None:
                        out[f"rope.scaling.{key}"] = f32(values[hf])
        elif kind in ("longrope", "su"):
            if self.write_scaling:
                out["rope.scaling.type"] = string("longrope")
            original = _original_context(config, rope)
            out["rope.scaling.original_context_length"] = u32(original)
            out["rope.scaling.attn_factor"] = f32(longrope_attention_factor(config, rope, original))
        if self.write_base or rope["rope_theta"] != self.default_theta:
            out["rope.freq_base"] = f32(rope["rope_theta"])
        sliding = config["rope_parameters"].get("sliding_attention")
        if sliding is not None:
            if sliding["rope_type"] != "default":
                raise UnsupportedError("scaled rotary settings of layers with sliding attention have no GGUF form",
                                       file="config.json", expected="default", found=sliding["rope_type"])
            out["rope.freq_base_swa"] = f32(sliding["rope_theta"])
        return out

    def read(self, found: GgufFacts, config: Config) -> None:
        kv = found.kv
        for key, kinds in KINDS.items():
            if key in kv and not isinstance(kv[key], kinds):
                raise TypeError(f"{key} has the wrong type")
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": self.default_theta}
        if "rope.freq_base" in kv:
            rope["rope_theta"] = short(kv["rope.freq_base"])
        elif self.write_base:
            found.assumed["rope_parameters.rope_theta"] = f"{self.default_theta}: the file has no rope.freq_base"
        kind = kv.get("rope.scaling.type", "none")
        if kind in ("linear", "yarn", "longrope"):
            rope["rope_type"] = kind
        if kind in ("linear", "yarn"):
            rope["factor"] = short(kv["rope.scaling.factor"])
        if (original := kv.get("rope.scaling.original_context_length")) is not None:
            rope["original_max_position_embeddings"] = original
            if kind == "longrope":
                rope["factor"] = config["max_position_embeddings"] / original
        if kind == "yarn":
            for hf, key in YARN:
                if f"rope.scaling.{key}" in kv:
                    rope[hf] = short(kv[f"rope.scaling.{key}"])
        sliding_theta = kv.get("rope.freq_base_swa", self.default_sliding_theta)
        if sliding_theta is None:
            config["rope_parameters"] = rope
            return
        if "rope.freq_base_swa" not in kv:
            found.assumed["rope_parameters.sliding_attention"] = f"{sliding_theta}: the file has no rope.freq_base_swa"
        sliding = {"rope_type": "default", "rope_theta": short(sliding_theta)}
        config["rope_parameters"] = {"full_attention": rope, "sliding_attention": sliding}


def _original_context(config: Config, rope: Mapping[str, Any]) -> int:
    """The context before it was stretched: as transformers has it, the model's own where the scaling names none."""
    found = rope.get("original_max_position_embeddings") or config.get("max_position_embeddings")
    if found is None:
        raise Missing("rope_parameters.original_max_position_embeddings")
    return found


def longrope_attention_factor(config: Config, rope: Mapping[str, Any], original: int) -> float:
    """What longrope multiplies cosines and sines by: given, or from how far the context is stretched."""
    if (given := rope.get("attention_factor")) is not None:
        return given
    stretch = config["max_position_embeddings"] / original
    return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0


def _llama3_divisors(dim: int, base: float, factor: float, low: float, high: float, original: float) -> np.ndarray:
    """What each rotary frequency is divided by: 1 for short wavelengths, `factor` for long ones, smooth between."""
    # float32 steps in this order give the bytes that existing files have.
    exponent = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    freqs = np.float32(1.0) / np.power(np.float32(base), exponent, dtype=np.float32)
    out = []
    for freq in freqs:
        wavelength = np.float32(2 * math.pi) / freq
        if wavelength < original / high:
            out.append(1.0)
        elif wavelength > original / low:
            out.append(factor)
        else:
            smooth = (np.float32(original) / wavelength - np.float32(low)) / np.float32(high - low)
            out.append(1 / ((1 - smooth) / np.float32(factor) + smooth))
    return np.array(out, np.float32)


def _make_llama3(config: Config, hp: Hparams) -> np.ndarray | None:
    rope = full_attention_rope(config)
    if rope["rope_type"] != "llama3":
        return None
    return _llama3_divisors(
        hp["rope.dimension_count"], rope["rope_theta"], rope.get("factor", 8.0), rope.get("low_freq_factor", 1.0),
        rope.get("high_freq_factor", 4.0), rope.get("original_max_position_embeddings", 8192))


def _recover_llama3(divisors: np.ndarray, found: GgufFacts, config: Config) -> None:
    """Solve the four llama3 parameters from the divisors.

    The factor is the largest divisor. Between the two break points 1/divisor is linear in the frequency, so its line
    gives low and high times the context's reciprocal; the published context lengths are tried for the common scale.
    """
    rope = full_attention_rope(config)
    dim, base = 2 * len(divisors), rope["rope_theta"]
    factor = short(divisors.max())
    # Doubling low, high and the context changes nothing, so the usual low = 1 is tried with every context first.
    for low, high in ((1.0, 4.0), (1.0, 2.0), (1.0, 8.0), (1.0, 32.0), (2.0, 4.0), (2.0, 8.0), (0.5, 4.0)):
        for original in (8192, 4096, 2048, 16384, 32768, 1024, 65536, 131072, 512, 256, 128, 64):
            if np.array_equal(_llama3_divisors(dim, base, factor, low, high, original), divisors):
                rope.update(rope_type="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                            original_max_position_embeddings=original)
                return
    solved = _fit_llama3(divisors, dim, base, factor)
    if solved is None:
        raise UnsupportedError("rope_freqs.weight is not a llama3 rotary scaling", tensor="rope_freqs.weight",
                               hint="config.json has no other form for a table of rotary divisors.")
    low, high, original = solved
    rope.update(rope_type="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                original_max_position_embeddings=original)
    found.assumed["rope_parameters"] = f"low {low}, high {high}, context {original}: solved from rope_freqs.weight"


def _fit_llama3(divisors: np.ndarray, dim: int, base: float, factor: float) -> tuple[float, float, int] | None:
    """Parameters that reproduce the divisors to float32 precision, with the original context fixed at 8192."""
    freqs = 1.0 / base ** (np.arange(0, dim, 2) / dim)
    inside = (divisors > 1) & (divisors < factor)
    original = 8192
    if inside.sum() >= 2:
        smooth = (1 / divisors[inside].astype(np.float64) - 1 / factor) / (1 - 1 / factor)
        per_wavelength = original * freqs[inside] / (2 * math.pi)
        slope, offset = np.polyfit(per_wavelength, smooth, 1)
        if slope <= 0:
            return None
        low = -offset / slope
        high = low + 1 / slope
    else:  # only the positions of the two steps are known: any break points between the neighbours do
        cycles = original * freqs / (2 * math.pi)
        ones, full = cycles[divisors <= 1], cycles[divisors >= factor]
        if not len(full):
            return None
        low = float(full.max()) * 1.0001
        high = float(ones.min()) * 0.9999 if len(ones) else low * 2
    made = _llama3_divisors(dim, base, factor, low, high, original)
    return (float(low), float(high), original) if np.allclose(made, divisors, rtol=1e-4) else None


LLAMA3_FREQS = Derived("rope_freqs.weight", _make_llama3, _recover_llama3)


def _longrope(which: str) -> Derived:
    def make(config: Config, hp: Hparams) -> np.ndarray | None:
        factors = full_attention_rope(config).get(f"{which}_factor")
        if not factors:
            return None
        if len(factors) != hp["rope.dimension_count"] // 2:
            raise UnsupportedError(
                f"rope_parameters.{which}_factor has the wrong length", file="config.json",
                expected=hp["rope.dimension_count"] // 2, found=len(factors))
        return np.array(factors, np.float32)

    def recover(factors: np.ndarray, found: GgufFacts, config: Config) -> None:
        rope = full_attention_rope(config)
        rope["rope_type"] = "longrope"
        rope[f"{which}_factor"] = [short(x) for x in factors]

    return Derived(f"rope_factors_{which}.weight", make, recover)


LONGROPE_FACTORS = (_longrope("long"), _longrope("short"))

UNROTATED = 1e30  # the divisor of dimensions that do not turn


def _make_proportional(config: Config, hp: Hparams) -> np.ndarray | None:
    rope = full_attention_rope(config)
    pairs = hp["rope.dimension_count"] // 2
    if rope["rope_type"] != "proportional":
        return np.ones(pairs, np.float32)  # the runtime always wants the table
    rotated = int(rope.get("partial_rotary_factor", 1.0) * 2 * pairs // 2)
    if not 0 <= rotated <= pairs:
        raise ValueError("partial_rotary_factor is no part of the head")
    return np.array([rope.get("factor", 1.0)] * rotated + [UNROTATED] * (pairs - rotated), np.float32)


def _recover_proportional(divisors: np.ndarray, found: GgufFacts, config: Config) -> None:
    rotated = int((divisors < UNROTATED / 2).sum())
    factor = short(divisors[0]) if rotated else 1.0
    if not np.array_equal(divisors, np.array([factor] * rotated + [UNROTATED] * (len(divisors) - rotated), np.float32)):
        raise UnsupportedError("rope_freqs.weight is not a proportional rotary setting", tensor="rope_freqs.weight",
                               hint="config.json has no other form for a table of rotary divisors.")
    rope = full_attention_rope(config)
    rope.update(rope_type="proportional", partial_rotary_factor=rotated / len(divisors))
    if factor != 1.0:
        rope["factor"] = factor


PROPORTIONAL_FREQS = Derived("rope_freqs.weight", _make_proportional, _recover_proportional)
