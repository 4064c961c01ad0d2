"""Codes and scales kept as they are in GGUF's blocks: the values are the decoded ones bit for bit, or the tensor is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.plan.tiles import memory
from ggufx.quant import dequantize
from zoo import peers
from zoo.packed import hashes, pair, same
from zoo.proof import runtime

import ggufx

from .test_fp8 import shaped
from .test_hub_models import nf4, nvfp4
from .test_whole_numbers import awq, gptq, settings


def grouped(kind: str, group: int = 32, scale: float = 2.0**-9, dtype: torch.dtype = torch.bfloat16):
    """Other forms, by their parts."""
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        rng = np.random.default_rng(len(module))
        rows, cols = w.shape
        groups = cols // group
        s = (torch.from_numpy(rng.integers(64, 128, (rows, groups))).float() * scale / 64).to(dtype)
        each = s.float().repeat_interleave(group, 1)
        if kind == "int8":
            q = torch.from_numpy(rng.integers(-128, 128, (rows, cols), np.int8))
            return {f"{module}.weight": q, f"{module}.weight_scale": s}, q.float() * each
        if kind == "mxfp4":
            codes = torch.from_numpy(rng.integers(0, 256, (rows, cols // 2), np.uint8))
            e = torch.from_numpy(rng.integers(115, 130, (rows, groups), np.uint8))
            table = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6])
            values = table[torch.stack([codes & 15, codes >> 4], -1).long()].reshape(rows, cols)
            each = torch.exp2(e.float() - 127).repeat_interleave(group, 1)
            return {f"{module}.weight_packed": codes, f"{module}.weight_scale": e}, values * each
        if kind == "mlx":
            words = torch.from_numpy(rng.integers(0, 1 << 32, (rows, cols // 8), np.uint32))
            q = torch.from_numpy(words.numpy().view(np.uint8)).int()
            q = torch.stack([q & 15, q >> 4], -1).reshape(rows, cols)
            b = -s * 7
            return ({f"{module}.weight": words, f"{module}.scales": s, f"{module}.biases": b},
                    q.float() * each + b.float().repeat_interleave(group, 1))
        codes = torch.from_numpy(rng.integers(0, 3, (4, rows // 4, cols), np.uint8))
        packed = (codes << torch.arange(0, 8, 2, dtype=torch.uint8)[:, None, None]).sum(0, dtype=torch.uint8)
        s = s.reshape(-1)[:1]
        return {f"{module}.weight": packed, f"{module}.weight_scale": s}, (codes.reshape(rows, cols).float() - 1) * s.float()
    return change


MLX = {"quantization": {"bits": 4, "group_size": 32}}
BITNET = {"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"}}
CASES = {
    "GPTQ, symmetric": ("llama", gptq(sym=True), settings(sym=True), "Q4_0"),
    "GPTQ": ("llama", gptq(), settings(sym=False), "Q5_0"),
    "GPTQ, 3 bits": ("llama", gptq(3), settings(3, sym=False), "Q4_0"),
    "GPTQ, 8 bits, symmetric": ("llama", gptq(8, sym=True), settings(8, sym=True), "Q8_0"),
    "GPTQ, experts": ("qwen3moe", gptq(sym=True), settings(sym=True), "Q4_0"),
    "AWQ": ("llama", awq("gemm"), {"quantization_config": {"quant_method": "awq"}}, "Q5_0"),
    "AWQ, symmetric": ("llama", awq("gemm", sym=True), {"quantization_config": {"quant_method": "awq"}}, "Q4_0"),
    "int8": ("llama", grouped("int8"), {}, "Q8_0"),
    "MXFP4": ("llama", grouped("mxfp4"), {}, "MXFP4"),
    "MLX": ("llama", grouped("mlx"), MLX, "Q4_1"),
    "BitNet": ("llama-256", grouped("bitnet"), BITNET, "TQ2_0"),
}


def values(path: Path) -> dict[str, np.ndarray]:
    """float32 values of every tensor."""
    data = path.read_bytes()
    return {t.name: dequantize(np.frombuffer(data, np.uint8, t.nbytes, t.offset).reshape(
        int(np.prod(t.shape[:-1], dtype=int)), -1).copy(), t.type).reshape(t.shape) for t in read_gguf(path).tensors.values()}


@pytest.mark.parametrize("case", CASES)
def test_values_are_the_same_in_blocks(case: str, zoo, tmp_path: Path):
    model, change, declared, kind = CASES[case]
    packed, twin = pair(zoo(model), tmp_path, change, declared)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    ggufx.hf_to_gguf(packed, tmp_path / "f32.gguf", outtype="f32")
    assert kind in {t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    kept, exact = values(tmp_path / "kept.gguf"), values(tmp_path / "f32.gguf")
    kinds = {t.name: t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    for name in exact:
        if kinds[name] == kind:
            assert np.array_equal(kept[name], exact[name]), name
    assert ggufx.verify(packed, tmp_path / "kept.gguf").same
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back", max_memory=1 << 14)
    assert hashes(tmp_path / "back") == hashes(packed)


def test_mxfp4_is_kept_by_itself_and_other_types_start_from_floats(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, grouped("mxfp4"), {"quantization_config": {"quant_method": "mxfp4"}})
    plan = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True)
    assert plan.facts["file_type"] == "MXFP4"
    assert "MXFP4 kept as MXFP4, without loss" in plan.notes
    assert not any("these are plain" in note or "rounded" in note for note in plan.notes)
    plan = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", outtype="q8_0", dry_run=True)
    assert "MXFP4 decoded to Q8_0" in plan.notes


@pytest.mark.parametrize(("change", "message"), [
    (grouped("int8", scale=2.0**-30), "has no place in float16"), (grouped("int8", scale=1e6), "has no place in float16"),
    (grouped("int8", scale=0.001, dtype=torch.float32), "has no place in float16")])
def test_a_scale_that_float16_does_not_hold_is_an_error(change, message: str, zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, change)
    with pytest.raises(GgufxError, match=message) as caught:
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    assert "blk." in str(caught.value)
    assert "without --keep-quantized it is decoded" in str(caught.value)
    assert not (tmp_path / "a.gguf").exists()
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")


def test_a_scale_of_nvfp4_that_is_nan(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        made = nvfp4(module, w)
        if made and module.endswith("1.mlp.up_proj"):
            made[0][f"{module}.weight_scale"].view(torch.uint8)[3, 1] = 0x7F
        return made
    packed, _ = pair(zoo("llama-256"), tmp_path, change)
    for outtype, message in (("auto", "scale that is NaN"), ("f32", "nan in row"), ("q8_0", "nan in row")):
        with pytest.raises(GgufxError, match=message) as caught:
            ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", outtype=outtype)
        assert "blk.1.ffn_up" in str(caught.value)


def test_memory_of_a_repacked_job_counts_what_is_unpacked(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, grouped("mxfp4"))
    plan = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True)
    job = next(job for job in plan.jobs if job.outputs[0].type == "MXFP4")
    assert memory(job) > 4 * np.prod(job.outputs[0].shape)


def test_embeddings_that_are_tied(zoo, tmp_path: Path):
    """MLX quantizes them, too."""
    def change(module: str, w: torch.Tensor):
        return grouped("mlx")("proj" if w.shape[1] % 32 == 0 else "", w)

    def named(module: str, w: torch.Tensor):
        made = change(module, w)
        return ({name.replace("proj", module, 1): t for name, t in made[0].items()}, made[1]) if made else None
    packed, twin = pair(zoo("gemma2"), tmp_path, named, MLX)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    assert next(t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values() if t.name == "token_embd.weight") == "Q4_1"


def test_what_no_block_holds_is_decoded(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, gptq(order=True), settings(sym=False, desc_act=True))
    plan = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True)
    assert "GPTQ int4 decoded to F16" in plan.notes
    assert sum("decoded all the same: their columns are in groups out of order" in note and "blk.0.attn_q.weight" in note
               for note in plan.notes) == 1
    assert "decoded all the same" not in str(ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).notes)
    with pytest.raises(GgufxError, match="has types of its own"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, outtype="q4_k_m")


WHY = {
    "FP8": ("llama", shaped(("out",), "{m}.weight_scale"), {}, "GGUF has no such floats of 8 bits"),
    "NF4": ("llama", nf4, {}, "their codes stand for numbers of a table"),
    "8 bits with zeros": ("llama", gptq(8), settings(8, sym=False), "GGUF has no such whole numbers of 8 bits with zeros"),
    "groups": ("llama", gptq(group=16), settings(group=16, sym=False), "groups of 16 columns are no whole blocks of Q5_0"),
    "one expert of another form": ("qwen3moe", lambda m, w: gptq(8 if ".0.mlp.experts.1.up" in m else 4, sym=True)(m, w),
                                   settings(sym=True), "they go into one tensor, and are stored in several forms"),
}


@pytest.mark.parametrize("case", WHY)
def test_why_weights_are_decoded_all_the_same_is_said(case: str, zoo, tmp_path: Path):
    model, change, declared, why = WHY[case]
    packed, _ = pair(zoo(model), tmp_path, change, declared)
    notes = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes
    (said,) = (note for note in notes if note.startswith("decoded all the same"))
    assert said.startswith(f"decoded all the same: {why}")
    assert "blk.0.ffn_up" in said or "more" in said


def divided(module: str, w: torch.Tensor):
    """NVFP4 of compressed-tensors: the number of all divides."""
    if (made := nvfp4(module, w)) is None:
        return None
    stored, _ = made
    whole = 1 / stored[f"{module}.weight_scale_2"].reshape(1)
    codes, s = stored[f"{module}.weight"], stored[f"{module}.weight_scale"]
    table = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6])
    values = table[torch.stack([codes & 15, codes >> 4], -1).long()].reshape(w.shape)
    return ({f"{module}.weight_packed": codes, f"{module}.weight_scale": s, f"{module}.weight_global_scale": whole},
            values * (s.float() / whole).repeat_interleave(16, 1))


@pytest.mark.parametrize("change", [nvfp4, divided], ids=["multiplied", "divided"])
@pytest.mark.parametrize("model", ["llama-256", "qwen3moe"])
def test_nvfp4_is_kept_with_its_factors_beside_it(model: str, change, zoo, tmp_path: Path):
    """llama.cpp multiplies by them; verify and the way back do, too."""
    packed, twin = pair(zoo(model), tmp_path, change, {"quantization_config": {"quant_method": "modelopt"}})
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf")
    kinds = {t.name: t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    assert kinds["blk.0.attn_q.weight"] == "NVFP4"
    assert kinds["blk.0.attn_q.scale"] == "F32"
    assert ggufx.verify(packed, tmp_path / "kept.gguf").same
    with pytest.raises(GgufxError, match="are not quantized again"):
        ggufx.quantize(tmp_path / "kept.gguf", tmp_path / "q.gguf", "q8_0")
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back", dtype="f32")
    ggufx.hf_to_gguf(tmp_path / "back", tmp_path / "again.gguf", outtype="f32", plain=True)
    ggufx.hf_to_gguf(packed, tmp_path / "exact.gguf", outtype="f32", plain=True)
    exact, again = values(tmp_path / "exact.gguf"), values(tmp_path / "again.gguf")
    for name in (n for n, kind in kinds.items() if kind == "NVFP4"):
        np.testing.assert_array_max_ulp(again[name], exact[name], 2)  # 1 / x, and the order of two factors
    if peers.missing_runtime() is None:
        got = runtime(model, tmp_path / "kept.gguf")
        assert peers.relative_error(got, runtime(model, tmp_path / "exact.gguf")) < 0.2  # activations go to 8 bits


def test_nvfp4_where_the_runtime_does_not_multiply_is_decoded(zoo, tmp_path: Path):
    packed, _ = pair(zoo("qwen2"), tmp_path, nvfp4)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    kinds = {t.name: t.type for t in read_gguf(tmp_path / "a.gguf").tensors.values()}
    assert kinds["blk.0.attn_q.weight"] == "NVFP4"
    assert kinds["blk.0.ffn_up.weight"] == "BF16"
    assert "blk.0.ffn_up.scale" not in kinds
