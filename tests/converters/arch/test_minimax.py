"""MiniMax-Text-01: which blocks attend by softmax, and one multiplier of all residuals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from zoo.build import build
from zoo.models import MODELS
from zoo.peers import llama_logits, missing_runtime, read_peer_gguf
from zoo.proof import sample_ids

from ggufx import gguf_to_hf, hf_to_gguf

KEY = "minimax-01.attention.recurrent_layers"


def made(tmp_path: Path, monkeypatch, **config) -> Path:
    row = MODELS["minimax-01"]
    names = row.shapes(row.config | {"vocab_size": 425, **config})
    swapped = {name.replace(".7.", ".1."): shape for name, shape in names.items() if ".7." in name}
    kept = {name: shape for name, shape in names.items() if "layers." not in name or ".layers.0." in name}
    monkeypatch.setitem(MODELS, "minimax-01", replace(
        row, config=row.config | {"num_hidden_layers": 2, "attn_type_list": [0, 1], **config}, shapes=lambda _: kept | swapped))
    return build("minimax-01", tmp_path / "m")


def test_softmax_attention_elsewhere_than_in_every_eighth_block(tmp_path: Path, monkeypatch):
    out = tmp_path / "m.gguf"
    folder = made(tmp_path, monkeypatch)
    hf_to_gguf(folder, out, outtype="f32", plain=True)
    assert [bool(x) for x in read_peer_gguf(out).values[KEY][1]] == [True, False]
    if missing_runtime() is None:
        assert np.isfinite(llama_logits(out, sample_ids("minimax-m2", 8))).all()
    gguf_to_hf(out, tmp_path / "back")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["attn_type_list"] == [0, 1]


def test_multipliers_that_differ_are_refused(tmp_path: Path, monkeypatch):
    with pytest.raises(GgufxError, match="layernorm_"):
        hf_to_gguf(made(tmp_path, monkeypatch, layernorm_mlp_alpha=2.0), tmp_path / "m.gguf")
