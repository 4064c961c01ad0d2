"""Weights that the formats' own libraries packed: decoded to the bits that these read back (`scripts/golden/packed.py`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from zoo.packed import decoded, opened

GOLDEN = Path(__file__).parents[3] / "golden" / "packed"
M = "model.layers.0.m.weight"
# Libraries that round in between, where ggufx rounds the exact value once: as near as that, in units of the last place.
ROUNDS_TWICE = ("hqq",)


def cases() -> list[tuple[str, str]]:
    found = []
    for path in sorted(GOLDEN.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found += [(path.stem, case) for case in sorted(file.metadata()) if case != "made by"]
    return found


@pytest.mark.parametrize(("library", "case"), cases())
def test_values_are_the_librarys(library: str, case: str, tmp_path: Path):
    path = GOLDEN / f"{library}.safetensors"
    with safe_open(path, "pt") as file:
        declared = file.metadata()[case]
    tensors = load_file(path)
    stored = {name.removeprefix(f"{case}/"): t for name, t in tensors.items() if name.startswith(f"{case}/")}
    checkpoint = opened(stored, declared, tmp_path)
    assert list(checkpoint.tensors) == [M]
    values = tensors[case]
    assert checkpoint.tensors[M].shape == tuple(values.shape)
    made = decoded(checkpoint.tensors[M])
    if library in ROUNDS_TWICE:
        np.testing.assert_array_max_ulp(made.numpy(), values.numpy(), 1)
    else:
        assert torch.equal(made.to(values.dtype), values), (made - values.float()).abs().max()


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.float32], ids=str)
def test_codes_of_bitsandbytes_under_another_type(storage: torch.dtype, tmp_path: Path):
    """`bnb_4bit_quant_storage`: the same bytes."""
    case = "nf4 torch.bfloat16 (32, 192)"
    tensors = load_file(GOLDEN / "bitsandbytes.safetensors")
    stored = {name.removeprefix(f"{case}/"): t for name, t in tensors.items() if name.startswith(f"{case}/")}
    stored[M] = stored[M].reshape(-1).view(storage)[:, None]
    assert torch.equal(decoded(opened(stored, "{}", tmp_path).tensors[M]).to(torch.bfloat16), tensors[case])


def test_stacks_that_bitsandbytes_packs_as_one(tmp_path: Path):
    """Fused experts: three axes in the state; a tile is an expert, or some."""
    case = "nf4 nested torch.bfloat16 (32, 192)"
    tensors = load_file(GOLDEN / "bitsandbytes.safetensors")
    stored = {name.removeprefix(f"{case}/"): t for name, t in tensors.items() if name.startswith(f"{case}/")}
    state = next(name for name in stored if "quant_state" in name)
    text = bytes(stored[state].numpy()).decode().replace("[32, 192]", "[4, 8, 192]")
    stored[state] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    tensor = opened(stored, "{}", tmp_path).tensors[M]
    assert tensor.shape == (4, 8, 192)
    assert torch.equal(decoded(tensor).to(torch.bfloat16), tensors[case].reshape(4, 8, 192))
    assert torch.equal(decoded(tensor, 2).to(torch.bfloat16), tensors[case].reshape(4, 8, 192)[2])
