"""torchao's subclasses in safetensors: what the file's metadata says of a weight decides, and comes back with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from zoo.packed import decoded, hashes, opened, pair, same

import ggufx

from .test_fp8 import F8
from .test_hub_models import E2M1
from .test_whole_numbers import M

INTX = "IntxUnpackedToInt8Tensor"


def declared(mapping: str | None) -> dict:
    said = {"mapping_type": {"_type": "MappingType", "_data": mapping}} if mapping else {}
    return {"quantization_config": {"quant_method": "torchao", "quant_type": {"default": {
        "_type": "IntxWeightOnlyConfig", "_data": {"weight_dtype": {"_type": "torch.dtype", "_data": "int4"}, **said}}}}}


def settings(kind: str = INTX, **data: object) -> str:
    return json.dumps({"_type": kind, "_data": data})


def intx(bits: int, zeros: bool, beyond: bool = False):
    """A change to whole numbers of `bits`, each in a byte."""
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        rng = np.random.default_rng(len(module))
        half = 1 << bits - 1
        q = torch.from_numpy(rng.integers(-half, half, w.shape, np.int8))
        s = (torch.from_numpy(rng.integers(64, 128, (len(w), w.shape[1] // 32))).float() / 4096).bfloat16()
        z = torch.from_numpy(rng.integers(-half, half, s.shape, np.int8)) if zeros else torch.zeros(s.shape, dtype=torch.int8)
        if beyond and module.endswith("1.mlp.up_proj"):
            z[-1, -1] = 1
        values = (q.float() - z.float().repeat_interleave(32, 1)) * s.float().repeat_interleave(32, 1)
        return {f"{module}._weight_{part}": t for part, t in (("qdata", q), ("scale", s), ("zero_point", z))}, values
    return change


def says(folder: Path, bits: int, files: int = 1) -> None:
    """Puts into the files of a checkpoint what torchao writes there; into several of them."""
    stored = load_file(folder / "model.safetensors")
    weights = sorted(name.removesuffix("._weight_qdata") for name in stored if name.endswith("_qdata"))
    metadata = {f"{module}.weight": settings(target_dtype={"_type": "torch.dtype", "_data": f"int{bits}"}, block_size=[1, 32])
                for module in weights}
    (folder / "model.safetensors").unlink()
    names = sorted(stored)
    for number in range(files):
        name = f"model-{number + 1:05}-of-{files:05}.safetensors" if files > 1 else "model.safetensors"
        save_file({n: stored[n] for n in names[number::files]}, folder / name,
                  {**metadata, "tensor_names": json.dumps([*metadata])})


CASES = {"4 bits": (4, False, "SYMMETRIC", "Q4_0"), "4 bits, zeros": (4, True, "ASYMMETRIC", "Q5_0"),
         "4 bits, not declared": (4, False, None, "Q5_0"), "3 bits, zeros": (3, True, "ASYMMETRIC", "Q4_0"),
         "8 bits": (8, False, "SYMMETRIC", "Q8_0")}


@pytest.mark.parametrize("case", CASES)
def test_whole_numbers_are_kept_and_come_back(case: str, zoo, tmp_path: Path):
    bits, zeros, mapping, kind = CASES[case]
    packed, twin = pair(zoo("llama"), tmp_path, intx(bits, zeros), declared(mapping))
    says(packed, bits, files=1 + zeros)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    assert kind in {t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back", max_memory=1 << 14)
    assert hashes(tmp_path / "back") == hashes(packed)


def test_files_that_are_cut_otherwise_say_what_all_said(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, intx(4, False), declared("SYMMETRIC"))
    says(packed, 4)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back", max_shard_size=100_000)
    with safe_open(packed / "model.safetensors", "pt") as file:
        said = file.metadata()
    files = sorted((tmp_path / "back").glob("*.safetensors"))
    assert len(files) > 1
    for path in files:
        with safe_open(path, "pt") as file:
            assert file.metadata() == said
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "floats", dtype="bf16")
    with safe_open(tmp_path / "floats/model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_metadata_says_wrongly(zoo, tmp_path: Path):
    """Numbers of 8 bits that are said to have 4: an error of what keeps them, else right."""
    packed, twin = pair(zoo("llama"), tmp_path, intx(8, False), declared("SYMMETRIC"))
    says(packed, 4)
    same(packed, twin, tmp_path)
    with pytest.raises(GgufxError, match=r"blk\.\d.*beyond those of Q4_0"):
        ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    assert not (tmp_path / "kept.gguf").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"_data": 5}', '{"_data": {"target_dtype": 4, "is_swizzled_scales": null}}'])
def test_metadata_that_says_nothing(text: str, tmp_path: Path):
    q, s = torch.randint(-8, 8, (4, 32), dtype=torch.int8), torch.rand(4, 1)
    config = {"__metadata__": {f"{M}.weight": text}}
    made = opened({f"{M}._weight_qdata": q, f"{M}._weight_scale": s}, json.dumps(config), tmp_path).tensors[f"{M}.weight"]
    assert torch.equal(decoded(made), q.float() * s)


SWIZZLED = {  # codes, and scales in 128 rows of 4 columns as torchao pads them; of FP8 they would pass for groups of 6
    "MXTensor": (torch.randn(32, 192).to(F8), torch.ones(32, 32, dtype=torch.uint8).view(torch.float8_e8m0fnu)),
    "MXTensor, 4 bits": (torch.zeros(32, 96, dtype=torch.uint8), torch.ones(32, 32).to(torch.uint8).view(torch.float8_e8m0fnu)),
    "NVFP4Tensor": (torch.zeros(32, 96, dtype=torch.uint8), torch.ones(32, 48).to(F8)),
}  # fmt: skip


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("case", SWIZZLED)
def test_scales_in_the_order_of_a_kernel_are_refused(case: str, said: bool, tmp_path: Path):
    """By what the file says of the weight; where it says nothing, by their shape."""
    codes, scales = SWIZZLED[case]
    metadata = {f"{M}.weight": settings(case.split(",")[0], is_swizzled_scales=True)} if said else None
    with pytest.raises(GgufxError, match="is_swizzled_scales is set" if said else "is no part of"):
        opened({f"{M}._weight_qdata": codes, f"{M}._weight_scale": scales},
               json.dumps({**declared(None), "__metadata__": metadata}), tmp_path)


def test_nvfp4_is_kept_by_itself_and_comes_back(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        rng = np.random.default_rng(len(module))
        q = torch.from_numpy(rng.integers(0, 256, (len(w), w.shape[1] // 2), np.uint8))
        s, g = torch.from_numpy(rng.integers(30, 90, (len(w), w.shape[1] // 16), np.uint8)).view(F8), torch.tensor(0.01)
        values = E2M1[torch.stack([q & 15, q >> 4], -1).long()].reshape(w.shape) * (s.float() * g).repeat_interleave(16, 1)
        stored = {"qdata": q, "scale": s, "per_tensor_scale": g, "act_per_tensor_scale": torch.tensor(1.0)}
        return {f"{module}._weight_{part}": t for part, t in stored.items()}, values
    packed, twin = pair(zoo("llama-256"), tmp_path, change, {"quantization_config": {"quant_method": "torchao"}})
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf")
    assert "NVFP4" in {t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(packed)


def test_inputs_that_are_scaled_first(tmp_path: Path):
    q, s, p = torch.randint(-128, 128, (4, 32), dtype=torch.int8), torch.rand(4, 1), torch.rand(32)
    made = opened({f"{M}._weight_qdata": q, f"{M}._weight_scale": s, f"{M}._weight_act_pre_scale": p}, "{}", tmp_path)
    assert torch.equal(decoded(made.tensors[f"{M}.weight"]), q.float() * s * p)
