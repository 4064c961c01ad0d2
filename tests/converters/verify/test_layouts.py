"""verify where both sides lay the same model out differently: under which names, by which operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import i32, u16
from ggufx.converters.verify.tensors import Verdict
from zoo.changed import change_folder, change_gguf, rows, swapped_rows, with_rows
from zoo.verdicts import differing, found, verdicts

import ggufx

Zoo = Callable[[str], Path]


def test_an_unsplit_kv_b_of_older_files_is_compared_under_the_checkpoints_name(zoo: Zoo, converted, tmp_path: Path):
    import torch
    from safetensors.torch import load_file

    original = load_file(zoo("deepseek2") / "model.safetensors")

    def unsplit(held: dict, flip: int = 0) -> None:
        for block in range(2):
            for part in "kv":
                del held[f"blk.{block}.attn_{part}_b.weight"]
            weight = original[f"model.layers.{block}.self_attn.kv_b_proj.weight"]
            raw = weight.view(torch.uint8).numpy().reshape(-1).copy()
            raw[0] ^= flip
            held[f"blk.{block}.attn_kv_b.weight"] = ("BF16", tuple(weight.shape), raw)

    old = change_gguf(converted("deepseek2"), tmp_path / "old.gguf", unsplit)
    for a, b in ((zoo("deepseek2"), old), (old, zoo("deepseek2"))):
        report = ggufx.verify(a, b)
        assert report.same
        assert found(report, "model.layers.1.self_attn.kv_b_proj.weight").verdict is Verdict.IDENTICAL
        assert not [p.name for p in report.pairs if "attn_k_b" in p.name or "attn_kv_b" in p.name]
    bad = change_gguf(converted("deepseek2"), tmp_path / "bad.gguf", lambda held: unsplit(held, flip=1))
    assert differing(ggufx.verify(zoo("deepseek2"), bad)) == [
        "model.layers.0.self_attn.kv_b_proj.weight", "model.layers.1.self_attn.kv_b_proj.weight"]


def test_gates_and_ups_of_experts_in_one_tensor_are_compared_under_the_checkpoints_name(zoo: Zoo, converted, tmp_path: Path):
    def joined(held: dict) -> None:
        for block in range(2):
            parts = [held.pop(f"blk.{block}.ffn_{part}_exps.weight") for part in ("gate", "up")]
            experts, width, cols = parts[0][1]
            raw = np.concatenate([raw.reshape(experts, width, -1) for _, _, raw in parts], 1)
            held[f"blk.{block}.ffn_gate_up_exps.weight"] = (parts[0][0], (experts, 2 * width, cols), raw)

    other = change_gguf(converted("qwen3moe-fused"), tmp_path / "other.gguf", joined)
    report = ggufx.verify(zoo("qwen3moe-fused"), other)
    assert report.same
    assert found(report, "model.layers.1.mlp.experts.gate_up_proj").verdict is Verdict.IDENTICAL


def test_what_the_other_layout_does_not_hold_stays_missing(zoo: Zoo, converted, tmp_path: Path):
    def more(held: dict) -> None:
        held["blk.1.attn_q.bias"] = ("F32", (64,), np.zeros(256, np.uint8))

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "more.gguf", more))
    assert differing(report) == ["blk.1.attn_q.bias"]
    assert found(report, "blk.1.attn_q.bias").verdict is Verdict.ONLY_B


def test_a_split_file_is_one_model(zoo: Zoo, converted, tmp_path: Path):
    names = list(read_gguf(converted("llama")).tensors)

    def part(number: int) -> Path:
        def keys(metadata: dict) -> None:
            metadata |= {"split.no": u16(number), "split.count": u16(2), "split.tensors.count": i32(len(names))}

        def tensors(held: dict) -> None:
            for name in names[10:] if number == 0 else names[:10]:
                del held[name]

        return change_gguf(converted("llama"), tmp_path / f"m-0000{number + 1}-of-00002.gguf", tensors, keys)

    first, second = part(0), part(1)
    report = ggufx.verify(zoo("llama"), first)
    assert report.same
    assert len(report.pairs) == len(names)
    assert [file.path for file in report.b.files] == [first, second]
    assert ggufx.verify(first, converted("llama"), strict=True).same


def test_experts_apart_and_stacked_are_compared_in_two_folders(zoo: Zoo, tmp_path: Path):
    import torch

    def stacked(held: dict) -> None:
        for layer in range(2):
            stem = f"model.layers.{layer}.mlp.experts"
            count = sum(n.startswith(f"{stem}.") and n.endswith(".up_proj.weight") for n in held)
            each = [[held.pop(f"{stem}.{e}.{p}_proj.weight") for p in ("gate", "up", "down")] for e in range(count)]
            held[f"{stem}.gate_up_proj"] = torch.stack([torch.cat(x[:2]) for x in each])
            held[f"{stem}.down_proj"] = torch.stack([x[2] for x in each])

    def wrong(held: dict) -> None:
        stacked(held)
        held["model.layers.1.mlp.experts.down_proj"][[0, 1]] = held["model.layers.1.mlp.experts.down_proj"][[1, 0]]

    same = change_folder(zoo("qwen3moe"), tmp_path / "same", stacked)
    report = ggufx.verify(zoo("qwen3moe"), same, max_memory=1 << 16)
    assert report.same
    assert verdicts(report) == {"identical": len(report.pairs)}
    other = change_folder(zoo("qwen3moe"), tmp_path / "other", wrong)
    assert differing(ggufx.verify(other, zoo("qwen3moe"))) == ["blk.1.ffn_down_exps.weight"]


def test_the_text_part_is_compared_with_the_whole_model(zoo: Zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("gemma3-vl"), tmp_path / "text.gguf")
    ggufx.gguf_to_hf(tmp_path / "text.gguf", tmp_path / "text")
    report = ggufx.verify(zoo("gemma3-vl"), tmp_path / "text")
    assert report.same
    assert verdicts(report) == {"identical": len(report.pairs)}
    assert any("compared as both would be in GGUF" in note for note in report.notes)


def test_a_head_that_is_the_embedding_is_the_same_as_none(zoo: Zoo, converted, tmp_path: Path):
    def with_head(held: dict, changed: bool = False) -> None:
        held["output.weight"] = held["token_embd.weight"]
        if changed:
            swapped_rows(held)

    same = change_gguf(converted("llama-tied"), tmp_path / "same.gguf", with_head)
    report = ggufx.verify(zoo("llama-tied"), same)
    assert report.same
    assert found(report, "output.weight").detail
    other = change_gguf(converted("llama-tied"), tmp_path / "other.gguf", lambda held: with_head(held, changed=True))
    assert differing(ggufx.verify(other, converted("llama-tied"))) == ["token_embd.weight"]


def test_a_computed_value_may_differ_in_the_last_bits_only(zoo: Zoo, converted, tmp_path: Path):
    def plus(bits: int) -> Callable[[dict], None]:
        def change(held: dict) -> None:
            kind, shape, raw = held["blk.0.attn_norm.weight"]
            raw = raw.copy()
            raw.view(np.uint32)[0] += bits
            held["blk.0.attn_norm.weight"] = (kind, shape, raw)
        return change

    near = change_gguf(converted("gemma3"), tmp_path / "near.gguf", plus(1))
    far = change_gguf(converted("gemma3"), tmp_path / "far.gguf", plus(1 << 16))
    report = ggufx.verify(zoo("gemma3"), near)
    assert report.same
    assert found(report, "blk.0.attn_norm.weight").verdict is not Verdict.IDENTICAL
    assert differing(ggufx.verify(zoo("gemma3"), far)) == ["blk.0.attn_norm.weight"]
    assert differing(ggufx.verify(converted("gemma3"), near)) == ["blk.0.attn_norm.weight"]  # nothing is computed here


def test_an_overflow_to_infinity_is_no_rounding(zoo: Zoo, converted, tmp_path: Path):
    import torch

    def huge(held: dict) -> None:
        held["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.tensor(1e6)

    def infinite(held: dict) -> None:
        table = rows(held["blk.0.ffn_up.weight"])
        table[0, :2] = (0x00, 0x7C)
        held["blk.0.ffn_up.weight"] = with_rows(held["blk.0.ffn_up.weight"], table)

    source = change_folder(zoo("llama"), tmp_path / "hf", huge)
    bad = change_gguf(converted("llama", "f16"), tmp_path / "bad.gguf", infinite)
    report = ggufx.verify(source, bad)
    assert differing(report) == ["blk.0.ffn_up.weight"]
    assert "numbers on one side only" in found(report, "blk.0.ffn_up.weight").detail
