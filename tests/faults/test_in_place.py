"""A file that is replaced by its edited successor, killed at every step: it is the old one or the new one, whole."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import string
from ggufx.converters.run import hash_and_sync, journal
from ggufx.converters.run.execute import execute

import ggufx

STEPS = ("open", "ftruncate", "pwrite", "copy_file_range", "fsync", "replace", "unlink", "write")


def test_every_step(body, tmp_path: Path, server, inject, small_tiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal, "WRITE_INTERVAL", -1)  # as in the process that dies: conftest.py
    monkeypatch.setattr(hash_and_sync, "SYNC_INTERVAL", 1e9)
    laid = layout([(name, "F32", (8192,)) for name in "abc"])
    old = encode_header({"general.architecture": string("llama"), "general.name": string("one")}, laid) + b"abcd" * 3 * 8192
    source = tmp_path / "source.gguf"
    source.write_bytes(old)

    def planned(name: str) -> tuple[Path, Path]:
        """A copy of the file, in a folder of its own, and the plan of its edit."""
        folder = tmp_path / name
        folder.mkdir()
        path = Path(shutil.copy(source, folder / "m.gguf"))
        plan = ggufx.edit(path, set={"general.name": "another"}, dry_run=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(plan.to_json()))
        return path, tmp_path / f"{name}.json"

    path, _ = planned("undisturbed")
    with inject(0, lambda _: None, *STEPS) as calls:
        execute(ggufx.edit(path, set={"general.name": "another"}, dry_run=True), engine=small_tiles(1), force=True)
    new, seen = path.read_bytes(), set()
    for turn, number in enumerate(range(1, len(calls) + 2)):
        path, plan = planned(f"step-{number}")
        status, text = server.run(plan, threads=1, die_at=[STEPS, number], options={"force": True}, body=body)
        assert status in (0, -signal.SIGKILL), text
        assert path.read_bytes() in (old, new)
        seen.add(path.read_bytes() == new)
        ggufx.edit(path, set={"general.name": "another"}, resume=turn % 2 == 0)
        assert path.read_bytes() == new
        assert {p.name for p in path.parent.iterdir()} <= {"m.gguf", "m.gguf.ggufx-journal"}  # of a death behind the rename
    assert seen == {False, True}
