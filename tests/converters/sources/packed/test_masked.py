"""Weights under a mask of bits (compressed-tensors, sparse): the library's own stand in test_libraries.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.ops import op_from_json
from safetensors.torch import load_file, save_file
from zoo.packed import Stored, decoded, opened, pair, same

import ggufx

from .test_whole_numbers import M

CT = {"quantization_config": {"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-bitmask"}}}
W = f"{M}.weight"


def bits(named: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.packbits(named.numpy(), axis=-1, bitorder="little"))


def sparse(name: str, w: torch.Tensor) -> Stored:
    """sparse-bitmask: what is not zero, of a tensor of one or two axes."""
    named = w.view(torch.int8) != 0 if w.element_size() == 1 else w != 0
    counts = named.sum(-1)
    return {f"{name}.compressed": w[named], f"{name}.bitmask": bits(named), f"{name}.shape": torch.tensor(w.shape),
            f"{name}.row_offsets": counts.cumsum(0) - counts if w.dim() > 1 else torch.tensor(0)}


def halved(name: str, w: torch.Tensor) -> tuple[Stored, torch.Tensor]:
    """sparse-24-bitmask: the two greatest of four; and what stays."""
    named = torch.zeros(w.shape[0], w.shape[1] // 4, 4, dtype=torch.bool)
    named = named.scatter(2, w.float().abs().reshape(named.shape).topk(2, 2).indices, True).reshape(w.shape)
    return {f"{name}.compressed": w[named].reshape(len(w), -1), f"{name}.bitmask": bits(named),
            f"{name}.shape": torch.tensor(w.shape).reshape(-1, 1)}, torch.where(named, w, 0)


def thinned(w: torch.Tensor) -> torch.Tensor:
    return torch.where(w.abs() < w.abs().float().median(), 0, w)


def any_of(module: str, w: torch.Tensor):
    return (sparse(module, thinned(w)), thinned(w)) if "proj" in module else None


def four(module: str, w: torch.Tensor):
    return halved(module, w) if "proj" in module else None


@pytest.mark.parametrize("change", [any_of, four])
@pytest.mark.parametrize("model", ["llama", "deepseek3", "phi3"])
def test_what_rules_make_of_them(model: str, change, zoo, tmp_path: Path):
    packed, twin = pair(zoo(model), tmp_path, change, CT)
    same(packed, twin, tmp_path)
    for folder in (packed, twin):
        ggufx.hf_to_gguf(folder, tmp_path / f"{folder.name}.gguf", max_memory=1 << 14)
    assert ggufx.verify(packed, tmp_path / "twin.gguf").same


def test_auto_is_the_type_of_what_is_stored(zoo, tmp_path: Path):
    """They are no quantized weights: F32 stays F32."""
    packed, twin = pair(zoo("llama"), tmp_path, lambda m, w: (sparse(m, w.float()), w.float()) if "proj" in m else None, CT)
    made = [ggufx.hf_to_gguf(folder, tmp_path / f"{folder.name}.gguf", dry_run=True) for folder in (packed, twin)]
    assert [t.type for t in made[0].tensors] == [t.type for t in made[1].tensors]


def test_all_that_a_model_has_under_its_own_name(zoo, tmp_path: Path):
    """Before 0.9 norms and biases are stored so too."""
    packed, twin = pair(zoo("qwen2"), tmp_path, lambda m, w: None, CT)
    stored = {}
    for name, w in load_file(packed / "model.safetensors").items():
        stored |= sparse(name, w)
    save_file({k: v.contiguous() for k, v in stored.items()}, packed / "model.safetensors", metadata={"format": "pt"})
    same(packed, twin, tmp_path)
    assert ggufx.inspect(packed).parameters == ggufx.inspect(twin).parameters
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    back = load_file(tmp_path / "back/model.safetensors")
    assert all(torch.equal(back[name], w) for name, w in load_file(twin / "model.safetensors").items())


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("structure", ["any", "2:4"])
def test_codes_under_a_mask(kind: str, structure: str, tmp_path: Path):
    """What the mask leaves out is the code 0, which a zero of the codes makes a number."""
    q = torch.randint(-9, 9, (40, 64)).to(torch.int8 if kind == "int8" else torch.float8_e4m3fn)
    stored, q = halved(M, q) if structure == "2:4" else (sparse(M, q), q)
    s, z = torch.rand(40, 1), torch.randint(-5, 5, (40, 1), dtype=torch.int8)
    more = {f"{W}_scale": s, **({f"{W}_zero_point": z} if kind == "int8" else {})}
    made = decoded(opened({**stored, **more}, json.dumps(CT), tmp_path).tensors[W])
    assert torch.equal(made, (q.float() - (z if kind == "int8" else 0)) * s)


def test_int8_is_kept_without_loss_and_comes_back_as_floats(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        stored, q = halved(module, (w.float() * 100).round().clamp(-127, 127).to(torch.int8))
        s = torch.full((len(w), 1), 0.015625)
        return {**stored, f"{module}.weight_scale": s}, q * s
    packed, twin = pair(zoo("llama"), tmp_path, change, CT)
    notes = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True, dry_run=True).notes
    assert any("sparse int8 kept as Q8_0" in note for note in notes)
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", keep_quantized=True)
    assert ggufx.verify(twin, tmp_path / "a.gguf").same
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())


def test_any_rows_of_it(tmp_path: Path, monkeypatch):
    """Runs of rows with places of their own; a tile takes what it needs of them."""
    from ggufx.converters.sources.packed import masked
    monkeypatch.setattr(masked, "RUN", 3 * 50)
    w = torch.randn(11, 50) * (torch.rand(11, 50) < 0.3)
    w[3:8] = 0
    tensor = opened(sparse(M, w), json.dumps(CT), tmp_path).tensors[W]
    assert len(tensor.op.starts) == 5
    assert op_from_json(json.loads(json.dumps(tensor.op.to_json()))) == tensor.op
    for start in range(11):
        for stop in range(start + 1, 12):
            op = tensor.op.rows(start, stop)
            windows = op.windows([t.shape for t in tensor.parts])
            parts = [w[w != 0].numpy(), bits(w != 0).numpy()]
            made = op.forward([x[v.start : v.stop] for x, v in zip(parts, windows, strict=True)])[0]
            assert np.array_equal(made, w[start:stop].numpy())
            assert windows[0].stop - windows[0].start <= int((w[start // 3 * 3 : -(-stop // 3) * 3] != 0).sum())


def test_nothing_but_zeros(tmp_path: Path):
    made = decoded(opened(sparse(M, torch.zeros(8, 24)), json.dumps(CT), tmp_path).tensors[W])
    assert torch.equal(made, torch.zeros(8, 24))


PLANNED = {
    "shape": lambda s: s.update({f"{M}.shape": torch.tensor([1 << 40, 1 << 40])}),
    "less than nothing": lambda s: s.update({f"{M}.shape": torch.tensor([-8, 24])}),
    "three axes": lambda s: s.update({f"{M}.bitmask": torch.zeros(2, 4, 3, dtype=torch.uint8)}),
    "first": lambda s: s[f"{M}.row_offsets"].__setitem__(0, 1),
    "out of range": lambda s: s[f"{M}.row_offsets"].__setitem__(7, 1 << 62),
    "below": lambda s: s[f"{M}.row_offsets"].__setitem__(4, -1),
    "backwards": lambda s: s[f"{M}.row_offsets"].__setitem__(4, 0),
    "more than a row": lambda s: s.update({f"{M}.compressed": torch.ones(1000)}),
    "too few": lambda s: s.update({f"{M}.compressed": torch.ones(3)}),
    "a matrix": lambda s: s.update({f"{M}.compressed": torch.ones(8, 12)}),
    "type of the offsets": lambda s: s.update({f"{M}.row_offsets": torch.zeros(8, dtype=torch.int32)}),
    "no offsets": lambda s: s.pop(f"{M}.row_offsets"),
    "no mask": lambda s: s.pop(f"{M}.bitmask"),
    "no scale": lambda s: s.update({f"{M}.compressed": s[f"{M}.compressed"].to(torch.int8)}),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANNED)
def test_parts_that_do_not_fit(case: str, tmp_path: Path):
    stored = sparse(M, torch.eye(8, 24) + 1)
    PLANNED[case](stored)
    with pytest.raises(GgufxError, match=M) as caught:
        opened(stored, json.dumps(CT), tmp_path)
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize("case", ["one more", "one less", "2:4"])
def test_a_mask_that_names_others(case: str, zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        made = (four if case == "2:4" else any_of)(module, w)
        if made and module.endswith("0.mlp.up_proj"):
            mask = made[0][f"{module}.bitmask"]
            if case == "2:4":
                mask[3], mask[4] = 255, 0  # as many as are stored, of other rows
            else:
                mask[3] = 255 if case == "one more" else 0
        return made
    packed, _ = pair(zoo("llama"), tmp_path, change, CT)
    with pytest.raises(GgufxError, match=r"(?s)up.*a mask that names"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
