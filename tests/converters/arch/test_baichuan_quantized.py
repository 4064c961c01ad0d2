"""Weights that are one in the checkpoint and several in GGUF may be of several block types there: as Q4_K_M makes them."""

from pathlib import Path

from ggufx.converters.io.gguf import read_gguf

import ggufx


def test_parts_of_several_block_types_are_joined(zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("baichuan"), tmp_path / "q.gguf", outtype="q4_k_m")
    tensors = read_gguf(tmp_path / "q.gguf").tensors
    assert any(tensors[f"blk.{b}.attn_q.weight"].type != tensors[f"blk.{b}.attn_v.weight"].type for b in range(2))
    ggufx.gguf_to_hf(tmp_path / "q.gguf", tmp_path / "back", dtype="f32")
    assert ggufx.verify(tmp_path / "q.gguf", tmp_path / "back").same
    ggufx.hf_to_gguf(tmp_path / "back", tmp_path / "wide.gguf", outtype="f32")
    assert ggufx.verify(tmp_path / "q.gguf", tmp_path / "wide.gguf").same
