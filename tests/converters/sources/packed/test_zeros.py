"""Zeros that are beyond what a file keeps come back out of its blocks; all are looked at for what the first ones showed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf, read_gguf_model
from ggufx.converters.ops.least_codes import decoded, encoded
from ggufx.converters.planners import original_packing, packed_zeros
from ggufx.converters.planners.own_keys import kept_bytes, kept_value
from safetensors.torch import load_file
from zoo.packed import hashes, pair, same

import ggufx

from .test_heads_and_stacks import CT, only, pack
from .test_torchao import declared, intx, says
from .test_traps import mixed
from .test_way_back import AWQ
from .test_whole_numbers import awq, gptq, settings

QUARK = {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "uint4"}}, "export": {"pack_method": "reorder"}}


def renamed(change, **names: str):
    """A change whose parts have other names."""
    def changed(module: str, w: torch.Tensor):
        made = change(module, w)
        return made and ({f"{module}.{names[name.rpartition('.')[2]]}": t for name, t in made[0].items()}, made[1])
    return changed


def signed(module: str, w: torch.Tensor):
    """compressed-tensors by other hands: the zeros themselves."""
    if (made := only("proj", pack(zeros=True))(module, w)) is None:
        return None
    words = made[0][f"{module}.weight_zero_point"].numpy().view(np.uint32)
    zeros = (words[:, None] >> 4 * np.arange(8, dtype=np.uint32)[:, None] & 15).reshape(-1, words.shape[1])
    return {**made[0], f"{module}.weight_zero_point": torch.from_numpy(zeros.astype(np.int8) - 8)}, made[1]


def stretched(module: str, w: torch.Tensor):
    """GPTQ whose groups all have the first code and the last, as one that rounds each weight for itself gives them."""
    if (made := gptq()(module, w)) is not None:
        codes = made[0][f"{module}.qweight"].numpy().view(np.uint32)
        codes[::4] = codes[::4] & 0xFFFFFF00 | 0xF0
    return made


FORMS = {
    "GPTQ": ("llama", gptq(), settings(sym=False)),
    "GPTQ, 2 bits": ("llama", gptq(2), settings(2, sym=False)),
    "GPTQ, 3 bits, version 2": ("llama", gptq(3, version=2), settings(3, sym=False, checkpoint_format="gptq_v2")),
    "GPTQ, experts": ("qwen3moe", gptq(g_idx="no"), settings(sym=False)),
    "GPTQ, joined projections": ("phi3", gptq(), settings(sym=False)),
    "GPTQ, groups that are stretched": ("llama", stretched, settings(sym=False)),
    "AWQ": ("qwen3moe", awq("gemm"), {"quantization_config": AWQ}),
    "AWQ, gemv": ("llama-256", awq("gemv", 64), {"quantization_config": {**AWQ, "group_size": 64}}),
    "Quark": ("llama", renamed(awq("gemm"), qweight="weight", qzeros="weight_zero_point", scales="weight_scale"),
              {"quantization_config": QUARK}),
    "compressed-tensors": ("llama", only("proj", pack(zeros=True)), CT),
    "compressed-tensors, signed zeros": ("llama", signed, CT),
    "torchao": ("llama-256", intx(4, zeros=True), declared("ASYMMETRIC")),
    "torchao, 3 bits": ("llama-256", intx(3, zeros=True), declared("ASYMMETRIC")),
}


def kept_sizes(path: Path) -> dict[str, int]:
    """Bytes of the contents that a file keeps of weights that were packed."""
    metadata = read_gguf_model(path).metadata
    return {key: len(kept_bytes(value)) for key, value in metadata.items() if key.startswith("ggufx.kept.packed.")}


def source(path: Path) -> dict:
    return json.loads(str(read_gguf_model(path).metadata["ggufx.source"].data))


def made_of_blocks(packed: Path, folder: Path, monkeypatch) -> Path:
    """The file, where there is no room for the zeros."""
    ggufx.hf_to_gguf(packed, folder / "kept.gguf", keep_quantized=True)
    assert not any(packing.get("derived") for packing in source(folder / "kept.gguf")["packings"])
    monkeypatch.setattr(original_packing, "MAX_KEPT_BYTES", sum(kept_sizes(folder / "kept.gguf").values()) - 1)
    ggufx.hf_to_gguf(packed, folder / "a.gguf", keep_quantized=True)
    return folder / "a.gguf"


@pytest.mark.parametrize("case", FORMS)
def test_zeros_come_back_out_of_blocks(case: str, zoo, tmp_path: Path, monkeypatch):
    model, change, config = FORMS[case]
    packed, _ = pair(zoo(model), tmp_path, change, config)
    if case.startswith("torchao"):
        says(packed, 3 if "3" in case else 4)
    made = made_of_blocks(packed, tmp_path, monkeypatch)
    assert all(packing.get("derived") for packing in source(made)["packings"])
    if "stretched" in case:
        assert not any("least codes" in kept for parts in source(made)["packed"].values() for _, kept in parts)
    ggufx.gguf_to_hf(made, tmp_path / "back", max_memory=1 << 14)
    assert hashes(tmp_path / "back") == hashes(packed)


def test_zeros_of_stacks_come_back_out_of_blocks(zoo, tmp_path: Path, monkeypatch):
    packed, _ = pair(zoo("qwen35moe-vl"), tmp_path, only("experts.", pack(zeros=True)), CT, stacks=True)
    (packed / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    made = made_of_blocks(packed, tmp_path, monkeypatch)
    assert all(packing["derived"] and packing["count"] for packing in source(made)["packings"])
    ggufx.hf_to_gguf(packed, tmp_path / "eye.gguf", mmproj_only=True)
    ggufx.gguf_to_hf(made, tmp_path / "back", mmproj=tmp_path / "eye.gguf")
    assert hashes(tmp_path / "back") == hashes(packed)


def test_weights_of_other_parts_are_not_read(zoo, tmp_path: Path, monkeypatch):
    """A tower that is quantized too goes into a file of its own."""
    def change(module: str, w: torch.Tensor):
        return pack(zeros=True)(module, w) if "experts." in module or ("visual.blocks" in module and w.dim() == 2) else None
    packed, _ = pair(zoo("qwen35moe-vl"), tmp_path, change, CT, stacks=True)
    read, found = packed_zeros._least_codes, []
    monkeypatch.setattr(packed_zeros, "_least_codes", lambda tensor, pack: found.append(tensor.name) or read(tensor, pack))
    monkeypatch.setattr(original_packing, "MAX_KEPT_BYTES", 300)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True)
    assert any("experts" in name for name in found)
    assert not any("visual" in name for name in found)


@pytest.mark.parametrize("slack", [0, 1, 2, 3, 7, 15, 31])
def test_least_codes_take_the_bits_of_their_slack(slack: int):
    most = np.full((3, 5), slack, np.int16)
    most[1] = 0
    least = np.random.default_rng(slack).integers(0, most + 1).astype(np.int16)
    content = encoded(least, most)
    assert len(content) == -(-10 * slack.bit_length() // 8)
    found, rest = decoded(content + b"more", most)
    assert (found == least).all()
    assert rest == b"more"


def without(module: str, w: torch.Tensor):
    """AWQ, gemv, with a number behind the zeros of a row, where nothing is looked for."""
    if (made := awq("gemv")(module, w)) is not None:
        made[0][f"{module}.qzeros"][-1, -1] = 1
    return made


def test_zeros_that_are_stored_otherwise_than_they_would_come_back_are_said(zoo, tmp_path: Path, monkeypatch):
    packed, _ = pair(zoo("llama"), tmp_path, without, {"quantization_config": AWQ})
    monkeypatch.setattr(original_packing, "MAX_KEPT_BYTES", 100)
    notes = str(ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    assert "gguf-to-hf will make floats of this file: blocks do not tell how the zeros of" in notes
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())


def there_and_back(packed: Path, folder: Path) -> dict[str, str]:
    """The types by name in the file `a.gguf` that keeps the quantized numbers, out of which the same files come."""
    ggufx.hf_to_gguf(packed, folder / "a.gguf", keep_quantized=True)
    ggufx.gguf_to_hf(folder / "a.gguf", folder / "back")
    assert hashes(folder / "back") == hashes(packed)
    return {t.name: t.type for t in read_gguf(folder / "a.gguf").tensors.values()}


@pytest.mark.parametrize("last", [False, True])
def test_zeros_beyond_those_that_showed_symmetry(last: bool, zoo, tmp_path: Path):
    """The first group's are half the range, others' are not: their weight is asymmetric, and comes back; others stay as small
    as they are."""
    packed, twin = pair(zoo("llama"), tmp_path, mixed(plain_first=not last), settings(sym=True, checkpoint_format="gptq"))
    same(packed, twin, tmp_path)
    kinds = there_and_back(packed, tmp_path)
    assert kinds["blk.0.ffn_up.weight"] == "Q5_0"
    assert kinds["blk.1.ffn_up.weight"] == kinds["blk.0.ffn_gate.weight"] == "Q4_0"
    assert ggufx.verify(twin, tmp_path / "a.gguf").same


def test_an_expert_without_symmetry_decides_for_those_beside_it(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        if (made := awq("gemm", sym=True)(module, w)) is not None and "0.mlp.experts.1.up" in module:
            made[0][f"{module}.qzeros"][-1, -1] ^= 1
        return made
    packed, _ = pair(zoo("qwen3moe"), tmp_path, change, {"quantization_config": AWQ})
    kinds = there_and_back(packed, tmp_path)
    assert kinds["blk.0.ffn_up_exps.weight"] == "Q5_0"
    assert kinds["blk.0.ffn_down_exps.weight"] == "Q4_0"


def test_torchao_that_says_symmetric_of_zeros_that_are_not(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, intx(4, zeros=False, beyond=True), declared("SYMMETRIC"))
    says(packed, 4)
    kinds = there_and_back(packed, tmp_path)
    assert kinds["blk.1.ffn_up.weight"] == "Q5_0"
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"


def test_weights_that_are_not_here_are_not_read(zoo, tmp_path: Path, monkeypatch):
    """Of a repository whose headers alone were fetched a dry run says that it does not know."""
    packed, _ = pair(zoo("llama"), tmp_path, gptq(g_idx="no"), settings(sym=False))
    monkeypatch.setattr(original_packing, "MAX_KEPT_BYTES", 100)
    monkeypatch.setattr(packed_zeros, "elsewhere", lambda path: object())
    notes = str(ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes)
    assert "is not known yet: its zeros are beyond what a file keeps" in notes
    assert "will make floats" not in notes


def lengths(*numbers: int) -> bytes:
    return b"".join(n.to_bytes(4, "little") for n in numbers)


HOSTILE = {  # what a file keeps of the least codes of one weight, whose content was `content`
    "a length beyond the content": lambda content: lengths(0xFFFFFFFF) + content[4:],
    "no lengths": lambda content: b"\0",
    "more than there are": lambda content: lengths(len(content)) + content[4:] + bytes(4),
    "fewer than there are": lambda content: lengths(len(content) - 5) + content[4:-1],
    "codes beyond what is left of the range": lambda content: content[:4] + b"\xff" * (len(content) - 4),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_least_codes_that_lie_are_one_error(case: str, zoo, tmp_path: Path, monkeypatch):
    from ggufx.converters.planners import gguf_to_hf

    packed, _ = pair(zoo("llama"), tmp_path, gptq(3, g_idx="no"), settings(3, sym=False))
    made = made_of_blocks(packed, tmp_path, monkeypatch)
    model = read_gguf_model(made)
    for key in kept_sizes(made):
        model.metadata[key] = kept_value(np.frombuffer(HOSTILE[case](kept_bytes(model.metadata[key])), np.uint8))
    monkeypatch.setattr(gguf_to_hf, "read_gguf_model", lambda _: model)
    with pytest.raises(GgufxError, match=r"ggufx\.source|least codes|beyond those of the codes"):
        ggufx.gguf_to_hf(made, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_plan_holds_no_zeros(zoo, tmp_path: Path, monkeypatch):
    """Of a large model they would be larger than any plan; what it holds of them is what the file keeps."""
    from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf

    packed, _ = pair(zoo("llama"), tmp_path, gptq(g_idx="no"), settings(sym=False))
    made = made_of_blocks(packed, tmp_path, monkeypatch)
    plan = plan_gguf_to_hf(made, tmp_path / "back", HfOptions())
    held = sum(len(base64.b64decode(op.least)) for job in plan.jobs for op in job.ops if hasattr(op, "least"))
    stored = load_file(packed / "model.safetensors")
    assert 0 < held < sum(t.nbytes for name, t in stored.items() if name.endswith("qzeros")) / 4
    assert not any(getattr(op, "zeros", "") for job in plan.jobs for op in job.ops)
