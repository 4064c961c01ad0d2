"""What is rounded without being asked for is said, with what keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from zoo.changed import change_folder

import ggufx

Zoo = Callable[[str], Path]


def said(plan) -> list[str]:
    return [note for note in plan.notes if "rounded" in note]


def test_a_float64_checkpoint_becomes_float32(zoo: Zoo, tmp_path: Path):
    folder = change_folder(zoo("llama-head-dim"), tmp_path / "wide", lambda held: held.update(
        {name: tensor.double() for name, tensor in held.items()}))
    plan = plan_hf_to_gguf(folder, tmp_path / "wide.gguf", GgufOptions())
    assert {t.type for t in plan.tensors} == {"F32"}
    assert said(plan) == [f"{len(plan.tensors)} F64 tensors are rounded to F32"]
    assert said(plan_hf_to_gguf(zoo("llama-head-dim"), tmp_path / "own.gguf", GgufOptions())) == []


def test_wider_weights_among_others_are_told(zoo: Zoo, tmp_path: Path):
    def wider(held: dict) -> None:
        held["model.layers.1.mlp.up_proj.weight"] = held["model.layers.1.mlp.up_proj.weight"].to(torch.float16)

    folder = change_folder(zoo("llama"), tmp_path / "mixed", wider)
    plan = plan_hf_to_gguf(folder, tmp_path / "mixed.gguf", GgufOptions())
    assert said(plan) == ["1 F16 tensor is rounded to BF16; --outtype f32 keeps the values"]
    assert said(plan_hf_to_gguf(folder, tmp_path / "bf16.gguf", GgufOptions("bf16"))) == []  # asked for
    assert said(plan_hf_to_gguf(zoo("llama"), tmp_path / "own.gguf", GgufOptions())) == []


def test_a_quantized_file_comes_back_rounded_and_says_so(zoo: Zoo, converted, tmp_path: Path):
    back = tmp_path / "back"
    assert said(plan_gguf_to_hf(converted("llama"), back, HfOptions())) == []
    quantized = converted("llama", "q8_0")
    assert said(plan_gguf_to_hf(quantized, back, HfOptions())) == [
        "16 Q8_0 tensors are rounded to BF16; --dtype f32 keeps the values"]
    for dtype in ("f32", "bf16"):
        assert said(plan_gguf_to_hf(quantized, back, HfOptions(dtype))) == []
    own = tmp_path / "own.gguf"
    ggufx.hf_to_gguf(zoo("llama"), own, outtype="f32")
    assert said(plan_gguf_to_hf(own, back, HfOptions())) == []  # F32 that was made of BF16
