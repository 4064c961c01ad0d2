"""Rotary position settings: `rope_parameters` <-> `rope.*` key-values and the factor tensors that stand for them.

GGUF has keys for linear and yarn scaling, but holds llama3 scaling only as a tensor of frequency divisors
(`rope_freqs.weight`), and longrope as two tensors. Source: llama.cpp `llama-hparams.h`, `ggml_rope_ext`, and
transformers `modeling_rope_utils.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..io.values import Metadata, f32, string, u32
from ..ops import exact
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
KINDS: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "rope.scaling.type": str, "rope.scaling.original_context_length": int,
    **dict.fromkeys(("rope.freq_base", "rope.freq_base_swa", "rope.scaling.factor",
                     *(f"rope.scaling.{key}" for _, key in YARN)), (int, float)),
}
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
        if kind == "dynamic" and "alpha" not in rope:
            notes.append("dynamic rotary scaling, which acts on texts beyond the context, is not in the runtime")
        elif kind not in (*OTHER_KINDS, "linear", "yarn"):
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
            found.assumed["rope_parameters.rope_theta"] = str(self.default_theta), "the file has no rope.freq_base"
        kind = kv.get("rope.scaling.type", "none")
        if kind == "linear" and "rope.scaling.factor" not in kv:
            kind = "none"  # the runtime's own default: linear, by 1
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
            found.assumed["rope_parameters.sliding_attention"] = str(sliding_theta), "the file has no rope.freq_base_swa"
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
    stretch = rope.get("factor") or config["max_position_embeddings"] / original
    return math.sqrt(1 + float(exact.natural_log(stretch) / exact.natural_log(original))) if stretch > 1 else 1.0


def _frequencies(dim: int, base: float) -> np.ndarray:
    """float32 [dim / 2]: 1 / base^(2i / dim), the power rounded once, as torch has it where no vector unit rounds it.

    Decimal arithmetic, since the powers of numpy and of C libraries differ by machine.
    """
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    powers = [exact.power(float(np.float32(base)), float(e)) for e in exponents]
    return np.float32(1.0) / np.array(powers, np.float32)


def _llama3_divisors(freqs: np.ndarray, factor: float, low: float, high: float, original: float,
                     steps: type[np.floating[Any]] = np.float32) -> np.ndarray:
    """What each rotary frequency is divided by: 1 for short wavelengths, `factor` for long ones, smooth between.

    float32 steps in the order of llama.cpp's converter: torch divides a number by a tensor as the tensor's reciprocal
    times the number, in two roundings. `steps`: float64 where that takes number by number.
    """
    one, most = steps(1.0), steps(factor)
    wavelengths = (one / freqs.astype(steps)) * steps(2 * math.pi)
    smooth = ((one / wavelengths) * steps(original) - steps(low)) / steps(high - low)
    with np.errstate(divide="ignore", invalid="ignore"):  # where it is not taken
        between = one / ((one - smooth) / most + smooth)
    divisors = np.where(wavelengths < steps(original / high), one,
                        np.where(wavelengths > steps(original / low), most, between)).astype(np.float32)
    if not (divisors > 0).all():
        raise ValueError("llama3 settings that divide a frequency by no positive number")
    return divisors


def llama3_divisors(config: Config, hp: Hparams, steps: type[np.floating[Any]] = np.float32) -> np.ndarray | None:
    """float32 [rope.dimension_count / 2]: what llama3 scaling divides the rotary frequencies by; None without it."""
    rope = full_attention_rope(config)
    if rope["rope_type"] != "llama3":
        return None
    return _llama3_divisors(
        _frequencies(hp["rope.dimension_count"], rope["rope_theta"]), rope.get("factor", 8.0),
        rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0),
        rope.get("original_max_position_embeddings", 8192), steps)


def _recover_llama3(divisors: np.ndarray, found: GgufFacts, config: Config) -> None:
    """The simplest llama3 settings that reproduce the divisors: to the bit, or else to the last bits of float32.

    The factor is the largest divisor. Doubling both break points and the context changes nothing, so that they are known
    only as parts of the context; of all contexts the one is taken with which they are the shortest numbers.
    """
    rope = full_attention_rope(config)
    freqs, factor = _frequencies(2 * len(divisors), rope["rope_theta"]), short(divisors.max())
    settings = sorted(_llama3_settings(divisors, freqs, factor), key=_length)
    for tolerance in (0.0, LAST_BITS):
        for low, high, original in settings:
            made = _llama3_divisors(freqs, factor, low, high, original)
            if np.allclose(made, divisors, rtol=tolerance, atol=0.0):
                rope.update(rope_type="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                            original_max_position_embeddings=original)
                if (low, high) != USUAL_BREAKS:
                    found.assumed["rope_parameters"] = (
                        f"low {low}, high {high}, context {original}", "solved from rope_freqs.weight")
                return
    raise UnsupportedError("rope_freqs.weight is not a llama3 rotary scaling", tensor="rope_freqs.weight",
                           hint="config.json has no other form for a table of rotary divisors.")


LAST_BITS = 2.0**-20  # by which divisors of other machines and programs differ
USUAL_BREAKS = (1.0, 4.0)
CONTEXTS = (8192, *(2**n for n in range(5, 21) if n != 13))
BREAKS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 0.5, 0.25, 1.5, 3.0, 6.0)


def _length(settings: tuple[float, float, int]) -> tuple[bool, bool, int, int]:
    """How long two break points are to write, and their context; the usual ones come first, then those that begin at 1."""
    low, high, original = settings
    digits = sum(len(f"{x:g}".replace(".", "")) + (x != int(x)) for x in (low, high))
    context = CONTEXTS.index(original) if original in CONTEXTS else original
    return (low, high) != USUAL_BREAKS, low != USUAL_BREAKS[0], digits, context


def _llama3_settings(divisors: np.ndarray, freqs: np.ndarray, factor: float) -> Iterator[tuple[float, float, int]]:
    """Break points and contexts that may be meant: low < high.

    Between the break points 1 / divisor is linear in the frequency: with two divisors there both points follow, with one
    the second from a first that is a round number, and without any only round numbers can be tried.
    """
    cycles = freqs.astype(np.float64) / (2 * math.pi)  # per position
    inside = (divisors > 1) & (divisors < factor)
    smooth = (1 / divisors[inside].astype(np.float64) - 1 / factor) / (1 - 1 / factor)
    if len(smooth) >= 2:
        slope, offset = _line(cycles[inside].tolist(), smooth.tolist())
        if slope <= 0:
            return
        low, high = float(-offset / slope), float((1 - offset) / slope)
        rounds = {round(x / low) for x in BREAKS}
        for original in (*CONTEXTS, *(r for r in rounds if 1 < r < 2**24)):
            for digits in range(7):
                point = round(low * original, digits), round(high * original, digits)
                if 0 < point[0] < point[1]:
                    yield *point, original
        return
    ones, full = cycles[divisors <= 1], cycles[divisors >= factor]
    for original in CONTEXTS:
        for low in BREAKS:
            highs: Sequence[float] = BREAKS
            if len(smooth):
                high = float(low + (cycles[inside][0] * original - low) / smooth[0])
                highs = [round(high, digits) for digits in range(10)]
            for high in highs:
                if (low < high and (not len(full) or full.max() * original <= low * (1 + LAST_BITS))
                        and (not len(ones) or ones.min() * original >= high * (1 - LAST_BITS))):
                    yield low, high, original


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the line nearest to some points; by sums that are rounded once, and so the same everywhere."""
    x_mean, y_mean = math.fsum(x) / len(x), math.fsum(y) / len(y)
    slope = (math.fsum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
             / math.fsum((a - x_mean) ** 2 for a in x))
    return slope, y_mean - slope * x_mean


LLAMA3_FREQS = Derived("rope_freqs.weight", llama3_divisors, _recover_llama3)


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
        if (original := rope.get("original_max_position_embeddings")) and "max_position_embeddings" in config:
            rope["factor"] = config["max_position_embeddings"] / original

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
