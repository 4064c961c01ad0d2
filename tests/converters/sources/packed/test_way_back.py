"""Weights that were repacked without loss come back as they were stored: the same files, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf_model
from ggufx.converters.io.values import Metadata, ValueType, array
from ggufx.converters.planners.own_keys import kept_bytes
from safetensors.torch import load_file, save_file
from zoo.changed import change_gguf
from zoo.packed import hashes, pair

import ggufx

from .test_hub_models import int4, nvfp4
from .test_repack import divided, grouped
from .test_whole_numbers import awq, gptq, settings

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}
QUIET = {"quant_method": "compressed-tensors"}


def beside(module: str, w: torch.Tensor):
    """Int4 experts, each with a scale of activations of its own; one of a cache, which belongs to no weight that is packed."""
    if (made := int4(module, w)) is None:
        return ({f"{module}.weight": w, f"{module}.k_scale": torch.ones(1)}, w.float()) if "o_proj" in module else None
    return {**made[0], f"{module}.input_scale": made[0][f"{module}.weight_scale"].float().sum()}, made[1]


RETURNING = {
    "GPTQ, zeros of its own": ("qwen3moe", gptq(), settings(sym=False)),
    "GPTQ, version 2": ("llama", gptq(sym=True, version=2), settings(sym=True)),
    "GPTQ, no g_idx": ("llama", gptq(sym=True, g_idx="no"), settings(sym=True)),
    "NVFP4": ("llama-256", nvfp4, {"quantization_config": {"quant_method": "modelopt"}}),
    "NVFP4, divided": ("llama-256", divided, {"quantization_config": {"quant_method": "compressed-tensors"}}),
    "experts with parts of their own, a cache": ("deepseek3", beside, {"quantization_config": QUIET}),
    "Kimi-K2, int4 experts": ("deepseek3", int4, {"quantization_config": {"quant_method": "compressed-tensors"}}),
    "AWQ": ("qwen3moe", awq("gemm"), {"quantization_config": AWQ}),
    "AWQ, without zeros": ("llama", awq("gemm", zeros=False), {"quantization_config": AWQ}),
    "AWQ, gemv": ("llama", awq("gemv"), {"quantization_config": AWQ}),
    "AWQ, gemv, longer groups": ("llama-256", awq("gemv", 64), {"quantization_config": {**AWQ, "group_size": 64}}),
    "joined projections": ("phi3", gptq(sym=True), settings(sym=True)),
}


@pytest.mark.parametrize("case", RETURNING)
def test_the_same_files_come_back(case: str, zoo, tmp_path: Path):
    model, change, declared = RETURNING[case]
    packed, _ = pair(zoo(model), tmp_path, change, declared)
    keep = case.split(",")[0] not in ("NVFP4", "MXFP4")
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=keep)
    plan = ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", dry_run=True)
    assert any("come back as they were stored" in note for note in plan.notes)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", max_memory=1 << 14)
    assert hashes(tmp_path / "back") == hashes(packed)


def test_files_that_keep_arrays_of_bytes_are_read(zoo, tmp_path: Path):
    """As ggufx wrote them before base64."""
    packed, _ = pair(zoo("llama"), tmp_path, gptq(), settings(sym=False))
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)

    def older(keys: Metadata) -> None:
        kept = [key for key in keys if key.startswith("ggufx.kept.")]
        keys.update({key: array(ValueType.UINT8, np.frombuffer(kept_bytes(keys[key]), np.uint8)) for key in kept})
        assert kept
    change_gguf(tmp_path / "a.gguf", tmp_path / "b.gguf", None, older)
    ggufx.gguf_to_hf(tmp_path / "b.gguf", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(packed)


def test_what_declares_it_beside_config_json(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, gptq(sym=True))
    (packed / "quantize_config.json").write_text(json.dumps({"bits": 4, "sym": True}))
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(packed)


def test_shards_are_those_that_were(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, gptq(sym=True), settings(sym=True))
    stored = load_file(packed / "model.safetensors")
    (packed / "model.safetensors").unlink()
    names = sorted(stored)
    for number, part in ((1, names[::2]), (2, names[1::2])):
        save_file({n: stored[n] for n in part}, packed / f"model-0000{number}-of-00002.safetensors", metadata={"format": "pt"})
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(packed)


def behind(module: str, w: torch.Tensor):
    """AWQ, gemv, with something behind the scales of a row, where nothing is looked for."""
    made = awq("gemv")(module, w)
    if made:
        made[0][f"{module}.scales"][-1, -1] = 1
    return made


FLOATS = {
    "no zeros in the padding": (behind, {"quantization_config": AWQ}, {"keep_quantized": True}, {}),
    "decoded": (gptq(sym=True), settings(sym=True), {}, {}),
    "asked for": (gptq(sym=True), settings(sym=True), {"keep_quantized": True}, {"dtype": "f32"}),
    "in part only": (lambda m, w: (gptq(sym=True) if "up" in m else gptq(order=True))(m, w), settings(sym=False),
                     {"keep_quantized": True}, {}),
    "by a recipe": (gptq(sym=True), settings(sym=True), {"outtype": "q4_k_m"}, {}),
    "plain": (gptq(sym=True), settings(sym=True), {"keep_quantized": True, "plain": True}, {}),
}


@pytest.mark.parametrize("case", FLOATS)
def test_what_does_not_come_back_packed_comes_back_as_floats(case: str, zoo, tmp_path: Path):
    change, declared, there, home = FLOATS[case]
    packed, _ = pair(zoo("llama"), tmp_path, change, declared)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", **there)
    notes = ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", dry_run=True, **home).notes
    assert not any("as they were stored" in note for note in notes)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", **home)
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())
    assert {str(t.dtype) for t in load_file(tmp_path / "back/model.safetensors").values()} <= {
        "torch.float32", "torch.float16", "torch.bfloat16"}


def test_what_is_too_much_to_keep_is_said_ahead(zoo, tmp_path: Path, monkeypatch):
    """Where blocks tell too little of zeros for what a file keeps beside its tensors; once, whatever the number of outputs."""
    from ggufx.converters.planners import original_packing
    packed, _ = pair(zoo("llama"), tmp_path, gptq(g_idx="no"), settings(sym=False))
    assert "will make floats" not in str(ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes)
    monkeypatch.setattr(original_packing, "MAX_KEPT_BYTES", 20)
    notes = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes
    (why,) = (note for note in notes if "will make floats of this file" in note)
    assert "qzeros above all, is beyond the" in why
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())


def test_quantized_once_more_it_comes_back_as_floats(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, grouped("int8"))
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    ggufx.quantize(tmp_path / "a.gguf", tmp_path / "q.gguf", "q4_0", allow_requantize=True)
    ggufx.gguf_to_hf(tmp_path / "q.gguf", tmp_path / "back")
    assert not any("scale" in name for name in load_file(tmp_path / "back/model.safetensors"))


DAMAGE = {
    "op": lambda s: s["packings"][0]["op"].update(size=[1 << 50, 32]),
    "kind": lambda s: s["packings"][0]["op"].update(into="Q8_0"),
    "no op": lambda s: s["packings"][0].update(op={"op": "Unpack"}),
    "other op": lambda s: s["packings"][0].update(op={"op": "Op"}),
    "bits": lambda s: s["packings"][0]["op"]["parts"][0][1].update(bits=9),
    "order": lambda s: s["packings"][0]["op"]["parts"][0][1].update(order=[7, 7]),
    "shape": lambda s: s["packings"][0]["parts"][0].__setitem__(3, [1, 1]),
    "padding": lambda s: s["packings"][0]["parts"][1].__setitem__(3, [1 << 40, 1 << 40]),
    "type": lambda s: s["packings"][0]["parts"][0].__setitem__(2, "Q4_0"),
    "number": lambda s: s["packed"].update({n: [[99, {}]] for n in s["packed"]}),
    "derived": lambda s: s["packings"][0].update(derived=1),
    "least codes": lambda s: s["packed"].update({n: [[0, {"least codes": 0}]] for n in s["packed"]}),
    "content": lambda s: s["packed"].update({n: [[0, {"groups": 77}]] for n in s["packed"]}),
    "beside": lambda s: s.update(beside={"x": ["F32", [1 << 60], 0]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(zoo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    packed, _ = pair(zoo("llama"), folder, gptq(sym=True), settings(sym=True))
    ggufx.hf_to_gguf(packed, folder / "a.gguf", keep_quantized=True)
    return folder / "a.gguf"


@pytest.mark.parametrize("case", DAMAGE)
def test_a_record_that_lies_is_one_error(case: str, kept: Path, tmp_path: Path, monkeypatch):
    from ggufx.converters.io.values import string
    from ggufx.converters.planners import gguf_to_hf

    model = read_gguf_model(kept)
    source = json.loads(str(model.metadata["ggufx.source"].data))
    DAMAGE[case](source)
    model.metadata["ggufx.source"] = string(json.dumps(source))
    monkeypatch.setattr(gguf_to_hf, "read_gguf_model", lambda _: model)
    with pytest.raises(GgufxError, match=r"ggufx\.source"):
        ggufx.gguf_to_hf(kept, tmp_path / "back")
    assert not (tmp_path / "back").exists()
