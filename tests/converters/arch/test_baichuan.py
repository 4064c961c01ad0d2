"""Baichuan 2, whose head is normed by the class."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ggufx.converters.arch.baichuan import BAICHUAN
from ggufx.converters.planners.kept_tensors import lost
from ggufx.converters.rules.match import Match

import ggufx


def test_the_second_version_is_known_by_its_vocabulary():
    normed = BAICHUAN.sizes["normed"]
    assert (normed({"vocab_size": 64000}), normed({"vocab_size": 125696})) == (0, 1)
    head = next(row for row in BAICHUAN.tensors if str(row.gguf[0]) == "output.weight")
    (first,), (second,) = ([op.bind({"normed": n}) for op in head.ops] for n in (0, 1))
    x = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert first.moves
    assert np.array_equal(first.forward([x])[0], x)
    assert second.forward([x])[0].tolist() == [[np.float32(0.6), np.float32(0.8)], [0.0, 0.0]]
    said = lost(Match(head, {}, (("lm_head.weight",),), (second,)))
    assert list(map(str, said)) == ["does not come back with the lengths of its rows, which the class norms: lm_head.weight"]


def test_a_plain_file_says_what_is_lost(zoo: Callable[[str], Path], tmp_path: Path):
    plan = ggufx.hf_to_gguf(zoo("bailing"), tmp_path / "m.gguf", plain=True, dry_run=True)
    assert any("does not come back with the lengths of its columns" in str(note) for note in plan.notes)
    shutil.copytree(zoo("bailing"), tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"norm_head": False}))
    plan = ggufx.hf_to_gguf(tmp_path / "m", tmp_path / "m.gguf", plain=True, dry_run=True)
    assert not any("does not come back with" in str(note) for note in plan.notes)
