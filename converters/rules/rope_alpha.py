"""Hunyuan's rotary settings: "dynamic" scaling whose fixed `alpha` only stretches the base, which is what GGUF holds.

Source: transformers `models/hunyuan_v1_dense`, llama.cpp `conversion/hunyuan.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..io.values import Metadata, ValueType, array, f32, string, u32
from ..ops.exact import power
from .facts import Config, GgufFacts
from .hparam_rules import short
from .rope import Rope

STRETCHED_CONTEXT = 256 * 1024  # that of the published models, whose config.json says 32768


@dataclass(frozen=True)
class AlphaRope(Rope):
    """`Rope`, and the base that a fixed alpha stretches. Its context cannot be told from alpha."""

    writes: tuple[str, ...] = (*Rope.writes, "context_length")
    fills: tuple[str, ...] = (*Rope.fills, "max_position_embeddings")

    def write(self, config: Config, notes: list[str]) -> Metadata:
        rope = config["rope_parameters"]
        context = {"context_length": u32(config["max_position_embeddings"])}
        if rope["rope_type"] != "dynamic" or not rope.get("alpha"):
            return {**context, **super().write(config, notes)}
        return {
            "context_length": u32(STRETCHED_CONTEXT),
            "rope.freq_base": f32(stretched(rope["rope_theta"], rope["alpha"], config["head_dim"])),
            "rope.scaling.type": string("none"), "rope.scaling.factor": f32(1.0),
            "rope.scaling.original_context_length": u32(STRETCHED_CONTEXT),
        }

    def read(self, found: GgufFacts, config: Config) -> None:
        config["max_position_embeddings"] = found.kv["context_length"]
        super().read(found, config)
        rope, head = config["rope_parameters"], config["head_dim"]
        theta = 10000.0
        for digits in range(4):
            alpha = round(power(rope["rope_theta"] / theta, (head - 2) / head), digits)
            if alpha > 1 and np.float32(stretched(theta, alpha, head)) == np.float32(found.kv["rope.freq_base"]):
                config["rope_parameters"] = {"rope_type": "dynamic", "rope_theta": theta, "alpha": alpha, "factor": 1.0}
                found.assumed["rope_parameters.alpha"] = str(alpha), "solved from rope.freq_base"
                return


@dataclass(frozen=True)
class SectionedAlphaRope(AlphaRope):
    """`AlphaRope` of a model that sees: the runtime stretches the base itself, and shares the turned pairs among axes."""

    writes: tuple[str, ...] = (*AlphaRope.writes, "rope.scaling.alpha", "rope.dimension_sections")

    def write(self, config: Config, notes: list[str]) -> Metadata:
        rope = config["rope_parameters"]
        axes = rope.get("mrope_section") or rope.get("xdrope_section")
        if rope["rope_type"] not in ("dynamic", "xdrope") or not rope.get("alpha") or not axes:
            return super().write(config, notes)
        context = u32(config["max_position_embeddings"])
        return {
            "context_length": context, "rope.freq_base": f32(rope["rope_theta"]), "rope.scaling.alpha": f32(rope["alpha"]),
            "rope.scaling.type": string("none"), "rope.scaling.factor": f32(rope.get("factor", 1.0)),
            "rope.scaling.original_context_length": context,
            "rope.dimension_sections": array(ValueType.INT32, [int(pairs) for pairs in axes]),
        }

    def read(self, found: GgufFacts, config: Config) -> None:
        if not (alpha := found.kv.get("rope.scaling.alpha")):
            super().read(found, config)
            return
        config["max_position_embeddings"] = found.kv["context_length"]
        config["rope_parameters"] = {"rope_type": "dynamic", "rope_theta": short(found.kv.get("rope.freq_base", 10000.0)),
                                     "alpha": short(alpha), "factor": short(found.kv.get("rope.scaling.factor", 1.0))}


def stretched(theta: float, alpha: float, head: int) -> float:
    return theta * power(alpha, head / (head - 2))
