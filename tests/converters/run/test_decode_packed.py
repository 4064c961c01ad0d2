"""Stored weights on a GPU: what the CPU makes of them, bit for bit, in every form. The kernel runs in Triton's interpreter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.ops import Grid, Unpack
from ggufx.converters.run.device import Cpu
from safetensors import safe_open
from safetensors.torch import load_file
from zoo.packed import Files, opened, packed_source

from ..sources.packed.test_fp8 import blocks
from ..sources.packed.test_hub_models import nvfp4
from ..sources.packed.test_other_forms import words_in_planes
from ..sources.packed.test_whole_numbers import awq, compressed, gptq, settings, stream

GOLDEN = Path(__file__).parents[2] / "golden" / "packed"
M = "model.layers.0.mlp.up_proj"
RNG = np.random.default_rng(3)
WEIGHT = torch.from_numpy(RNG.standard_normal((96, 192)).astype(np.float32) * 0.05)
OTHERS = {"hqq", "compressed-tensors-sparse"}  # computed in float64; found by counting bits: these the CPU decodes
PLAIN = {"quantization_config": {}}


def tensor_of(x: torch.Tensor | np.ndarray) -> torch.Tensor:
    if isinstance(x, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(x.astype(np.float32) if x.dtype == np.float64 else x))
    return x


def held(cuda, stored: dict, declared: str, folder: Path, tiles: int = 1, *, there: bool = True) -> None:
    """A GPU makes what the CPU makes, of the whole or of some tiles that begin in odd rows, by the kernels that it asked for;
    `there`, or the CPU does it."""
    (tensor,) = opened({name: tensor_of(t) for name, t in stored.items()}, declared, folder).tensors.values()
    source, paths = packed_source(tensor)
    count = source.shape[0]
    rows = count if tiles == 1 else count // tiles | 1
    pieces = [source.rows(start, min(start + rows, count)) for start in range(0, count, rows)]
    made, asked, used, unlisted, notes = cuda.unpacked(pieces, paths)
    assert (used, unlisted, notes) == (asked, set(), [])
    assert bool(used) == there
    with np.errstate(all="ignore"):
        for piece, found in zip(pieces, made, strict=True):
            right = Cpu().read(Files(paths), piece)
            assert found.shape == right.shape
            invalid = np.isnan(right.view(np.float32))  # the sign of what an invalid operation makes is the processor's
            wrong = np.flatnonzero((found ^ right) & np.where(invalid, np.uint32(0x7FFFFFFF), np.uint32(0xFFFFFFFF)))
            assert not wrong.size, (wrong[:4], found.flat[wrong[0]], right.flat[wrong[0]])


def golden(library: str) -> list[tuple[dict, str]]:
    tensors = load_file(GOLDEN / f"{library}.safetensors")
    with safe_open(GOLDEN / f"{library}.safetensors", "pt") as file:
        declared = {case: text for case, text in file.metadata().items() if case != "made by"}
    return [({name.removeprefix(f"{case}/"): t for name, t in tensors.items() if name.startswith(f"{case}/")}, text)
            for case, text in declared.items()]


@pytest.mark.parametrize("library", sorted({path.stem for path in GOLDEN.glob("*.safetensors")} - OTHERS))
def test_what_libraries_packed(cuda, library: str, tmp_path: Path):
    for number, (stored, declared) in enumerate(golden(library)):
        held(cuda, stored, declared, tmp_path, tiles=1 + 2 * (number % 2))


@pytest.mark.parametrize("library", sorted(OTHERS))
def test_what_the_cpu_decodes(cuda, library: str, tmp_path: Path):
    for stored, declared in golden(library)[:3]:
        held(cuda, stored, declared, tmp_path, there=False)


def test_planes_of_bits_are_the_cpus(cuda, tmp_path: Path):
    stored = named(qweight=words_in_planes(bits(8, 32, 128), 3).T, qzeros=words_in_planes(bits(8, 4, 32), 3),
                   scales=RNG.random((4, 32)).astype(np.float16))
    declared = settings(3, sym=False, checkpoint_format="gptq_p")
    held(cuda, stored, json.dumps(declared), tmp_path, there=False)


def made(change, declared: dict) -> tuple[dict, dict]:
    return change(M, WEIGHT)[0], declared


def named(**parts: np.ndarray) -> dict:
    return {f"{M}.{name}": part for name, part in parts.items()}


def bits(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, shape)


def specials(*shape: int) -> np.ndarray:
    """float32 of a few orders of magnitude; infinities, NaN with something in it, what is not normal."""
    found = np.ldexp(RNG.standard_normal(shape), RNG.integers(-30, 30, shape)).astype(np.float32)
    found.flat[:8] = (0, -0.0, np.inf, -np.inf, 1e-45, -1e-40, 3e38, -1)
    found.view(np.uint32).flat[8:10] = (0x7F812345, 0xFFC54321)
    return found


def bitnet(linear: str) -> tuple[dict, dict]:
    stored = named(weight=bits(256, 8, 64).astype(np.uint8), weight_scale=np.float32([0.3]))
    return stored, {"quantization_config": {"quant_method": "bitnet", "linear_class": linear}}


FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [40, 40]}}
CASES = {
    **{f"GPTQ int{n}": made(gptq(n), settings(n, sym=False)) for n in range(2, 9)},
    "GPTQ, order of activations": made(gptq(order=True), settings(sym=False, desc_act=True)),
    "GPTQ, 3 bits, order of activations": made(gptq(3, order=True), settings(3, sym=False, desc_act=True)),
    **{f"AWQ {kind}": made(awq(kind), {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}})
       for kind in ("gemm", "gemv")},
    "AWQ without zeros": made(awq("gemm", zeros=False), {"quantization_config": {"quant_method": "awq", "group_size": 32}}),
    "AWQ fast": (named(qweight=bits(1 << 16, 12, 128).astype(np.uint16).view(np.int16),
                       scales=RNG.random((8, 48)).astype(np.float16), qzeros=RNG.random((8, 48)).astype(np.float16)),
                 {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemv_fast"}}),
    **{f"compressed-tensors {arguments}": (compressed(**arguments)[0], {"quantization_config": {"version": version}})
       for arguments, version in (({"dense": False, "bits": 3}, "0.9.1"), ({"zero": "int8", "order": True}, "0.18.0"))},
    "FP8 blocks, ragged": made(blocks(40), FP8),
    "FP8 blocks, exponents for scales": made(blocks(40, torch.float8_e8m0fnu), FP8),
    "NVFP4, multiplied": (nvfp4(M, WEIGHT)[0], PLAIN),
    "BitNet, divided": bitnet("bitlinear"), "BitNet, multiplied": bitnet("autobitlinear"),
    "ModelOpt int4, smoothed": (named(weight=bits(256, 12, 128).astype(np.uint8), weight_scale=RNG.random((24, 4)),
                                      pre_quant_scale=RNG.random(128)), {"quantization_config": {"quant_method": "modelopt"}}),
    "MXFP6": (named(weight_packed=stream(bits(64, 24, 128), 6).view(np.uint8),
                    weight_scale=bits(256, 24, 4).astype(np.uint8)), PLAIN),
    "a stack of NVFP4 with a factor each": (
        named(weight=bits(256, 3, 24, 32).astype(np.uint8), weight_scale=torch.from_numpy(bits(126, 3, 24, 4).astype(np.uint8))
              .view(torch.float8_e4m3fn), weight_scale_2=RNG.random(3)), PLAIN),
    **{f"Gemma int{n}": (named(weight=bits(256, 24, 32).astype(np.uint8), weight_scale=RNG.random((24, 1))),
                         {"quantization_config": {"quant_method": "gemma", "num_bits": n}}) for n in (2, 4)},
}  # fmt: skip


@pytest.mark.parametrize("tiles", [1, 2])
def test_what_is_packed_here(cuda, tiles: int, tmp_path: Path):
    for stored, declared in CASES.values():
        held(cuda, stored, json.dumps(declared), tmp_path, tiles)


def test_blocks_of_each_gpu(cuda, tmp_path: Path):
    """Shares of 48 rows, each with blocks of 40 and of 8, as MiMo-V2.5 has them."""
    joined, scales = "model.layers.0.self_attn.qkv_proj.weight", torch.from_numpy(RNG.random((4, 5)).astype(np.float32))
    stored = {joined: WEIGHT.to(torch.float8_e4m3fn), f"{joined}_scale_inv": scales}
    declared = {**FP8, "num_key_value_heads": 2, "attention_projection_layout": "fused_qkv"}
    for tiles in (1, 3):
        held(cuda, stored, json.dumps(declared), tmp_path, tiles)


def test_what_an_op_says_by_a_newer_field_is_the_cpus(monkeypatch):
    pytest.importorskip("triton")
    from ggufx.converters.run.engines import decode_packed

    plain = Unpack((8, 32), (("codes", Grid("I")), ("scales", Grid())), (1, 32))
    said = [plain, replace(plain, after=2.0), replace(plain, parts=(("codes", Grid("I", turned=True)), plain.parts[1]))]
    types = ["I8", "F32"]
    assert all(decode_packed.variants(op, types) for op in said)
    monkeypatch.setattr(decode_packed, "UNPACK", decode_packed.UNPACK - {"after"})
    monkeypatch.setattr(decode_packed, "GRID", decode_packed.GRID - {"turned"})
    assert [bool(decode_packed.variants(op, types)) for op in said] == [True, False, False]


def test_groups_that_are_not_there_are_not_read(cuda, tmp_path: Path):
    """The CPU is asked, and says what is wrong."""
    stored, declared = CASES["GPTQ, order of activations"]
    (tensor,) = opened({name: tensor_of(t) for name, t in stored.items()}, json.dumps(declared), tmp_path).tensors.values()
    source, paths = packed_source(tensor)
    wider = replace(source, op=replace(source.op, block=(1, 64)))  # half as many groups as g_idx names
    with pytest.raises(ValueError, match=r"groups of 192 columns, 0 to 5, where there are 3 of 192"):
        cuda.unpacked([wider], paths)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz],
                         ids=str)
def test_every_code_of_8_bits(cuda, kind: torch.dtype, tmp_path: Path):
    """With scales of every sort: 256 rows of 256 codes; where two NaN meet, compilers choose which stays, so none do."""
    codes = torch.arange(256, dtype=torch.uint8).repeat(256, 1)
    codes[8:10] &= 0x3F  # their scales are NaN
    stored = {f"{M}.weight": codes.view(kind), f"{M}.weight_scale": torch.from_numpy(specials(256, 1))}
    held(cuda, stored, "{}", tmp_path)


def test_every_scale_of_8_bits(cuda, tmp_path: Path):
    """Of MXFP4 and NVFP4, whose factor multiplies or divides: every code of 4 bits with every scale."""
    codes = np.tile(np.arange(16).reshape(8, 2) @ [1, 16], (256, 2)).astype(np.uint8)
    scales = np.arange(256, dtype=np.uint8)[:, None]
    held(cuda, named(weight_packed=codes, weight_scale=scales), "{}", tmp_path)
    for name in ("weight_global_scale", "weight_scale_2"):
        words = {"weight_packed" if "global" in name else "weight": codes, name: np.float32([0.3])}
        each = torch.from_numpy(scales.repeat(2, 1)).view(torch.float8_e4m3fn)
        held(cuda, {**named(**words), f"{M}.weight_scale": each}, "{}", tmp_path)
