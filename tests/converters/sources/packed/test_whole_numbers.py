"""GPTQ and AWQ, packed here as their libraries pack; labels that lie; words that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.sources.packed.whole_numbers import AWQ_ORDER
from zoo.packed import decoded, opened, pair, same

import ggufx

M = "model.layers.0.m"


def stream(codes: np.ndarray, bits: int) -> np.ndarray:
    """int32 [n, words] of codes [n, m]: one after another, the first in the lowest bits."""
    n = len(codes)
    each = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(n, -1)
    return np.ascontiguousarray(np.packbits(each, axis=1, bitorder="little")).view(np.int32)


def gptq(bits: int = 4, group: int = 32, *, sym: bool = False, version: int = 1, order: bool = False, g_idx: str = "yes"):
    """A change that packs as GPTQ does."""
    def change(module: str, w: torch.Tensor):
        if "proj" not in module and not module.endswith(".m"):
            return None
        rng = np.random.default_rng(len(module) + bits)
        rows, cols = w.shape
        groups = -(-cols // group)
        q = rng.integers(0, 1 << bits, (rows, cols))
        z = np.full((rows, groups), 1 << bits - 1) if sym else rng.integers(0, 1 << bits, (rows, groups))
        s = (rng.random((rows, groups)) * 0.01 + 0.001).astype(np.float16)
        of = rng.permutation(cols) // group if order else np.arange(cols) // group
        values = s[:, of].astype(np.float32) * (q - z[:, of]).astype(np.float32)
        stored = {"qweight": torch.from_numpy(stream(q, bits).T.copy()), "scales": torch.from_numpy(s.T.copy()),
                  "qzeros": torch.from_numpy(stream((z.T - (version == 1)) & (1 << bits) - 1, bits))}
        if g_idx != "no":
            stored["g_idx"] = torch.from_numpy((of if g_idx == "yes" else np.zeros(cols)).astype(np.int32))
        return {f"{module}.{k}": v for k, v in stored.items()}, torch.from_numpy(values)
    return change


def settings(bits: int = 4, group: int = 32, **more) -> dict:
    return {"quantization_config": {"quant_method": "gptq", "bits": bits, "group_size": group, **more}}


CASES = {
    **{f"{bits} bits": (gptq(bits), settings(bits, sym=False)) for bits in (2, 3, 4, 5, 6, 7, 8)},
    "symmetric": (gptq(sym=True), settings(sym=True)),
    "version 2": (gptq(version=2), settings(sym=False, checkpoint_format="gptq_v2")),
    "version 2, symmetric, labelled as 1": (gptq(sym=True, version=2), settings(sym=True, checkpoint_format="gptq")),
    "AutoRound's plain zeros": (gptq(version=2), {"quantization_config": {
        "quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": False, "packing_format": "auto_round:gptqmodel"}}),
    "order of activations": (gptq(order=True), settings(sym=False, desc_act=True)),
    "no g_idx": (gptq(g_idx="no"), settings(sym=False)),
    "g_idx of zeros": (gptq(g_idx="zeros"), settings(sym=False)),
    "bits that config.json does not know": (gptq(8), settings(4, sym=False)),
    "undeclared": (gptq(sym=True), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_gptq(case: str, zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, *CASES[case])
    same(packed, twin, tmp_path)


def test_declared_in_quantize_config_json(zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, gptq(version=2))
    (packed / "quantize_config.json").write_text(json.dumps({"bits": 4, "sym": False, "checkpoint_format": "gptq_v2"}))
    same(packed, twin, tmp_path)


def test_experts_and_what_rules_make_of_them(zoo, tmp_path: Path):
    packed, twin = pair(zoo("qwen3moe"), tmp_path, gptq(sym=True), settings(sym=True))
    same(packed, twin, tmp_path)


def test_small_tiles_read_columns(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, gptq(3, order=True), settings(3, sym=False))
    for name, memory in (("a", 1 << 30), ("b", 1024)):
        ggufx.hf_to_gguf(packed, tmp_path / f"{name}.gguf", outtype="f16", plain=True, max_memory=memory)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def awq(kind: str, group: int = 32, zeros: bool = True, sym: bool = False):
    def change(module: str, w: torch.Tensor):
        if "proj" not in module and not module.endswith(".m"):
            return None
        rng = np.random.default_rng(len(module))
        rows, cols = w.shape
        groups = cols // group
        q = rng.integers(0, 16, (rows, cols))
        z = rng.integers(0, 16, (rows, groups)) if zeros and not sym else np.full((rows, groups), 8)
        s = (rng.random((rows, groups)) * 0.01 + 0.001).astype(np.float16)
        values = s.repeat(group, 1).astype(np.float32) * (q - z.repeat(group, 1)).astype(np.float32)
        if kind == "gemm":
            def words(x):
                return torch.from_numpy(stream(x.T.reshape(x.shape[1], -1, 8)[:, :, AWQ_ORDER].reshape(x.shape[1], -1), 4))
            stored = {"qweight": words(q), "scales": torch.from_numpy(s.T.copy()), **({"qzeros": words(z)} if zeros else {})}
        else:
            width = -(-groups // 8) * 8 * (4 if group == 32 else 1)
            pad = ((0, 0), (0, width - groups))
            stored = {"qweight": torch.from_numpy(stream(q, 4)), "scales": torch.from_numpy(np.pad(s, pad)),
                      "qzeros": torch.from_numpy(stream(np.pad(z, pad), 4))}
        return {f"{module}.{k}": v for k, v in stored.items()}, torch.from_numpy(values)
    return change


@pytest.mark.parametrize(("kind", "zeros"), [("gemm", True), ("gemm", False), ("gemv", True)])
def test_awq(kind: str, zeros: bool, zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, awq(kind, zeros=zeros),
                        {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32, "version": kind}})
    same(packed, twin, tmp_path)


@pytest.mark.parametrize(("dtype", "method"), [("int4", "reorder"), ("uint4", "order")])
def test_quark(dtype: str, method: str, tmp_path: Path):
    rng = np.random.default_rng(3)
    q, z, s = rng.integers(0, 16, (24, 64)), rng.integers(0, 16, (24, 2)), rng.random((24, 2)).astype(np.float16)

    def words(x: np.ndarray) -> np.ndarray:
        turned = x.T.reshape(x.shape[1], -1, 8)
        return stream((turned[:, :, AWQ_ORDER] if method == "reorder" else turned).reshape(x.shape[1], -1), 4)
    stored = {"weight": words(q), "weight_scale": s.T.copy(), **({"weight_zero_point": words(z)} if dtype == "uint4" else {})}
    config = {"quantization_config": {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": dtype}},
                                      "export": {"pack_method": method}}}
    made = decoded(opened({f"{M}.{k}": torch.from_numpy(v) for k, v in stored.items()}, json.dumps(config), tmp_path)
                   .tensors[f"{M}.weight"])
    n = q - z.repeat(32, 1) if dtype == "uint4" else (q ^ 8) - 8
    assert np.array_equal(made.numpy(), n.astype(np.float32) * s.repeat(32, 1).astype(np.float32))


def compressed(zero: str | None = None, dense: bool = True, bits: int = 4, order: bool = False) -> tuple[dict, torch.Tensor]:
    """What libraries of other ages and hands wrote: [24, 60] in groups of 20; undeclared bits but for the version's."""
    rng = np.random.default_rng(5)
    q, z = rng.integers(0, 1 << bits, (24, 60)), rng.integers(0, 1 << bits, (24, 3))
    s = rng.random((24, 3)).astype(np.float32)
    half = 1 << bits - 1
    of = rng.permutation(60) // 20 if order else np.arange(60) // 20
    if dense:
        held = stream(np.pad(q, ((0, 0), (0, -60 % 32))), bits)[:, : -(-60 * bits // 32)]
    else:
        each = 32 // bits
        words = np.pad(q, ((0, 0), (0, -60 % each))).reshape(24, -1, each)
        held = (words << bits * np.arange(each)).sum(-1).astype(np.uint32).view(np.int32)
    stored = {"weight_packed": held, "weight_scale": s, "weight_shape": np.array([24, 60])}
    if zero == "int8":
        stored["weight_zero_point"] = (z - half).astype(np.int8)
    if order:
        stored["weight_g_idx"] = of.astype(np.int32)
    values = s[:, of] * ((q - (z[:, of] if zero else half)).astype(np.float32))
    return {f"{M}.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in stored.items()}, torch.from_numpy(values)


@pytest.mark.parametrize("arguments", [{"zero": "int8"}, {"dense": False, "bits": 3}, {"dense": False, "bits": 5}, {"bits": 3},
                                       {"order": True}, {"zero": "int8", "order": True}], ids=str)
def test_compressed_tensors_of_other_hands(arguments: dict, tmp_path: Path):
    """Where the width of the words tells too little, the version that is declared tells how codes of 3 bits were packed."""
    stored, values = compressed(**arguments)
    config = {"quantization_config": {"version": "0.18.0" if arguments.get("dense", True) else "0.9.1"}}
    assert torch.equal(decoded(opened(stored, json.dumps(config), tmp_path).tensors[f"{M}.weight"]), values)


def damaged(**parts: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """GPTQ with parts left out or put in."""
    stored, _ = gptq()(M, torch.zeros(64, 96))
    return {name: t for name, t in {**stored, **{f"{M}.{k}": v for k, v in parts.items()}}.items() if t is not None}


@pytest.mark.parametrize("stored", [
    damaged(qzeros=torch.zeros(3, 7, dtype=torch.int32)), damaged(qzeros=torch.zeros(2, 8, dtype=torch.int32)),
    damaged(g_idx=torch.zeros(95, dtype=torch.int32)), damaged(scales=torch.zeros(0, 64)),
    damaged(scales=torch.zeros(3, 64, dtype=torch.int16)), damaged(qweight=torch.zeros(13, 64, dtype=torch.int32)),
], ids=range(6))  # fmt: skip
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(stored, tmp_path: Path):
    with pytest.raises(GgufxError, match=M):
        opened(stored, "{}", tmp_path)


def test_a_group_that_is_not_there(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        made = gptq()(module, w)
        if made and module.endswith("0.mlp.up_proj"):
            made[0][f"{module}.g_idx"][5] = 1 << 20
        return made
    packed, _ = pair(zoo("llama"), tmp_path, change, settings(sym=False))
    with pytest.raises(GgufxError, match="numbers of 2 groups"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
