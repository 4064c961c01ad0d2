"""Forms that are rare, packed here as their libraries pack: each decodes to the values, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from zoo.packed import decoded, opened, pair, same

import ggufx

from .test_fp8 import shaped
from .test_repack import MLX, grouped
from .test_whole_numbers import M, settings, stream

W = f"{M}.weight"
RNG = np.random.default_rng(7)
ROWS, COLS, GROUP = 24, 128, 32


def read(stored: dict[str, np.ndarray], config: dict, folder: Path) -> torch.Tensor:
    """The weight that these make, under this declaration."""
    made = opened({f"{M}.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in stored.items()},
                  json.dumps({"quantization_config": config}), folder)
    assert list(made.tensors) == [W]
    return decoded(made.tensors[W])


def words_in_planes(codes: np.ndarray, bits: int) -> np.ndarray:
    """int32 [n, words] of codes [n, m], as GPTQModel's gptq_p: of each 32 codes the low bits first."""
    out = []
    for start in range(0, codes.shape[1], 32):
        first = 0
        for width in {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}[bits]:
            out.append(stream(codes[:, start : start + 32] >> first & (1 << width) - 1, width))
            first += width
    return np.concatenate(out, 1)


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
@pytest.mark.parametrize("sym", [True, False])
def test_gptq_in_planes_of_bits(bits: int, sym: bool, tmp_path: Path):
    q = RNG.integers(0, 1 << bits, (32, COLS))
    z = np.full((32, 4), 1 << bits - 1) if sym else RNG.integers(0, 1 << bits, (32, 4))
    s = RNG.random((32, 4)).astype(np.float16)
    stored = {"qweight": words_in_planes(q, bits).T, "qzeros": words_in_planes(z.T, bits), "scales": s.T}
    made = read(stored, {**settings(bits, sym=sym)["quantization_config"], "checkpoint_format": "gptq_p"}, tmp_path)
    values = s.repeat(GROUP, 1).astype(np.float32) * (q - z.repeat(GROUP, 1)).astype(np.float32)
    assert np.array_equal(made.numpy(), values)


def test_awq_for_fast_products_of_vectors(tmp_path: Path):
    """AutoAWQ's gemv_fast: four rows together, shuffled twice; padded scales; floats for zeros."""
    q, z = RNG.integers(0, 16, (ROWS, COLS)), RNG.integers(0, 16, (ROWS, 4))
    s = RNG.random((ROWS, 4)).astype(np.float16)
    shuffled = q.reshape(ROWS, -1, 4, 4, 2).transpose(0, 1, 3, 2, 4).reshape(ROWS, -1, 4, 4, 2).transpose(0, 1, 2, 4, 3)
    fours = shuffled.reshape(ROWS // 4, 4, -1, 64).transpose(0, 2, 1, 3).reshape(ROWS // 4, -1, 64, 4)
    packed = (fours.astype(np.uint16) << np.arange(0, 16, 4, dtype=np.uint16)).sum(-1, dtype=np.uint16).view(np.int16)
    zeros = -(s * z.astype(np.float16))
    pad = ((0, 0), (0, 28))
    stored = {"qweight": packed.reshape(ROWS // 4, COLS), "scales": np.pad(s, pad).T, "qzeros": np.pad(zeros, pad).T}
    made = read(stored, {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemv_fast"}, tmp_path)
    exact = q.astype(np.float64) * s.repeat(GROUP, 1) + zeros.repeat(GROUP, 1).astype(np.float64)
    assert np.array_equal(made.numpy(), exact.astype(np.float32))


@pytest.mark.parametrize("bits", [8, 4, 3, 2, 1])
def test_hqq_in_groups_of_columns(bits: int, tmp_path: Path):
    """Axis 0: the elements of a group are a column of the matrix that is packed."""
    count, parts = ROWS * COLS // 64, {8: 1, 4: 2, 3: 10, 2: 4, 1: 8}[bits]
    q = RNG.integers(0, 1 << bits, (64, count))
    s, z = (RNG.random((1, count)).astype(np.float32) for _ in range(2))
    bands = np.pad(q, ((0, -64 % parts), (0, 0))).reshape(parts, -1, count)
    shifts = bits * np.arange(parts)[::-1, None, None]
    packed = np.bitwise_or.reduce(bands << shifts).astype(np.int32 if bits == 3 else np.uint8)
    whole = {"nbits": bits, "group_size": 64, "axis": 0, "quant_scale": 0}
    stored = {"W_q": packed, "scale": s, "zero": z, "shape": np.array([ROWS, COLS]),
              **{k: np.array(v, np.int32) for k, v in whole.items()}}
    made = read(stored, {"quant_method": "hqq"}, tmp_path)
    exact = ((q.astype(np.float64) - z) * s).astype(np.float32).reshape(ROWS, COLS)
    assert np.array_equal(made.numpy(), exact)
    stored["quant_scale"] = np.array(1, np.int32)
    with pytest.raises(GgufxError, match="quantized themselves"):
        read(stored, {"quant_method": "hqq"}, tmp_path)


@pytest.mark.parametrize("more", [{}, {"pre_quant_scale": RNG.random(COLS).astype(np.float32)},
                                  {"weight_scale_2": np.float32([3])}], ids=["W4A16", "smoothed", "W4A8"])
def test_modelopt_int4(more: dict, tmp_path: Path):
    q = RNG.integers(0, 16, (ROWS, COLS))
    s = RNG.random((ROWS, 4)).astype(np.float32)
    stored = {"weight": (q[::2] | q[1::2] << 4).astype(np.uint8), "weight_scale": s, **more}
    made = read(stored, {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, tmp_path)
    values = s.repeat(GROUP, 1) * ((q ^ 8) - 8).astype(np.float32) * more.get("pre_quant_scale", np.float32(1))
    assert np.array_equal(made.numpy(), values)


def test_mxfp6(tmp_path: Path):
    q = RNG.integers(0, 64, (ROWS, COLS))
    e = RNG.integers(118, 130, (ROWS, 4), np.uint8)
    exponent, m = q >> 3 & 3, q & 7
    values = np.where(exponent == 0, m / 8, (1 + m / 8) * 2.0 ** (exponent - 1)) * np.where(q > 31, -1, 1)
    stored = {"weight_packed": stream(q, 6).view(np.uint8), "weight_scale": e}
    made = read(stored, {"quant_method": "compressed-tensors", "format": "mxfp6-pack-quantized"}, tmp_path)
    assert np.array_equal(made.numpy(), (values * 2.0 ** (e.repeat(GROUP, 1) - 127.0)).astype(np.float32))
    assert values.max() == 7.5


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("names", [("weight", "weight_scale"), ("embedding_quantized", "embedding_scale")])
def test_gemmas_own(bits: int, names: tuple[str, str], tmp_path: Path):
    q = RNG.integers(0, 1 << bits, (ROWS, COLS))
    s = RNG.random((ROWS, 1)).astype(np.float32)
    codes = (q - 128).astype(np.int8) if bits == 8 else stream(q, bits).view(np.uint8)
    made = read(dict(zip(names, (codes, s), strict=True)), {"quant_method": "gemma", "num_bits": bits}, tmp_path)
    assert np.array_equal(made.numpy(), (q - (1 << bits - 1)).astype(np.float32) * s)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8], ids=str)
def test_fp8_under_another_type(kind: torch.dtype, zoo, tmp_path: Path):
    """Only where FP8 is declared; else I8 is whole numbers."""
    def change(module: str, w: torch.Tensor):
        made = shaped((1,), "{m}.weight_scale_inv")(module, w)
        return made and ({n: t.view(kind) if n.endswith(".weight") else t for n, t in made[0].items()}, made[1])
    packed, twin = pair(zoo("llama"), tmp_path, change, {"quantization_config": {"quant_method": "fp8"}})
    same(packed, twin, tmp_path)


def mlx_experts(zoo: Path, folder: Path) -> tuple[Path, Path]:
    """A mixture of experts as mlx-lm stores it, and its twin."""
    from safetensors.torch import load_file, save_file

    def change(module: str, w: torch.Tensor):
        return grouped("mlx")(module, w) if ".experts." in module else None
    packed, twin = pair(zoo, folder, change, MLX)
    stored, stacks = {}, {}
    for name, t in load_file(packed / "model.safetensors").items():
        block, part, rest = name.partition(".experts.")
        if part:
            stacks.setdefault(f"{block}.switch_mlp.{rest.partition('.')[2]}", {})[int(rest.partition(".")[0])] = t
        else:
            stored[name] = t
    stored |= {name: torch.stack([each[e] for e in range(len(each))]) for name, each in stacks.items()}
    save_file(stored, packed / "model.safetensors", metadata={"format": "mlx"})
    return packed, twin


def test_experts_that_mlx_stacks(zoo, tmp_path: Path):
    packed, twin = mlx_experts(zoo("qwen3moe"), tmp_path)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    assert ggufx.verify(packed, tmp_path / "a.gguf").same
    back = ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", dry_run=True)
    assert any("come back as floats" in note for note in back.notes)


REFUSED = {
    "an activation of AWQ": ({}, {"act.scales": torch.ones(4)}, "divides what an activation gives"),
    "SVDQuant": ({}, {"svdquant_lora_b": torch.ones(4)}, "low-rank part"),
    "Quark in two stages": ({"quant_method": "quark", "global_quant_config": {"weight": [{}, {}]}}, {}, "two stages"),
    "Quark's MX6": ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "mx6"}}}, {}, "mx6 is not decoded"),
    "AutoRound's E5M3": ({"quant_method": "auto-round", "packing_format": "auto_round:nvfp4_e5m3"}, {}, "e5m3"),
    "Gemma's patterns": ({"quant_method": "gemma", "module_quant_configs": {"x": {}}}, {}, "patterns"),
    "rotations": ({"quant_method": "compressed-tensors", "transform_config": {"R1": {}}}, {}, "transform_config"),
    "an adapter": ({"quant_method": "gptq", "adapter": {"name": "lora"}}, {}, "adapter"),
    "tiles": ({"quant_method": "gptq", "checkpoint_format": "marlin"}, {}, "one GPU kernel"),
    "a method of tomorrow": ({"quant_method": "tomorrow"}, {}, "the method is unknown"),
    "quanto": ({}, {"weight._data": torch.ones(4, dtype=torch.int8)}, "quanto"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_decoded_is_refused_by_name(case: str, zoo, tmp_path: Path):
    declared, more, message = REFUSED[case]

    def change(module: str, w: torch.Tensor):
        made = shaped((), "{m}.weight_scale")(module, w)
        return made and ({**made[0], **{f"{module}.{k}": t.clone() for k, t in more.items()}}, made[1])
    packed, _ = pair(zoo("llama"), tmp_path, change, {"quantization_config": declared})
    with pytest.raises(GgufxError, match=message):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_layout_that_mlx_changes_without_a_word(zoo, tmp_path: Path):
    packed, _ = pair(zoo("qwen35"), tmp_path, grouped("mlx"), MLX)
    with pytest.raises(GgufxError, match="as mlx-lm has them"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
