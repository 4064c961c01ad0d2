"""What is refused before anything is written: the same for a plan that is shown as for one that is carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError, StorageError, UsageError
from ggufx.converters.plan.plan import ConversionPlan, OutputFile
from ggufx.converters.run.execute import execute, refuse


def a_plan(*outputs: Path, folder: Path | None = None, size: int = 2) -> ConversionPlan:
    return ConversionPlan("test", (), tuple(OutputFile(path, size, b"{}"[:size]) for path in outputs), (), (), folder=folder)


def both(plan: ConversionPlan, kind: type[GgufxError], words: str, **options: bool) -> None:
    """Refused alike, and nothing is written."""
    said = []
    for call in (refuse, execute):
        with pytest.raises(kind, match=words) as caught:
            call(plan, **options)
        said.append((caught.value.message, caught.value.file))
    assert said[0] == said[1]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path):
    both(a_plan(tmp_path / "no" / "x.gguf"), StorageError, "/no: no such folder")
    both(a_plan(tmp_path / "no" / "out" / "x", folder=tmp_path / "no" / "out"), StorageError, "/no: no such folder")
    assert list(tmp_path.iterdir()) == []
    execute(a_plan(tmp_path / "out" / "sub" / "x", folder=tmp_path / "out"))
    assert (tmp_path / "out" / "sub" / "x").read_bytes() == b"{}"


def test_what_is_in_the_way(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    both(a_plan(tmp_path / "file"), UsageError, "exists already")
    both(a_plan(tmp_path / "folder"), UsageError, "is a folder", force=True)
    both(a_plan(tmp_path / "file" / "x"), UsageError, "is a file, a folder is needed")
    both(a_plan(tmp_path / "file" / "x", folder=tmp_path / "file"), UsageError, "is a file, a folder is needed")
    many = [tmp_path / str(number) for number in range(9)]
    for path in many:
        path.touch()
    both(a_plan(*many), GgufxError, r"exists already \(9 files\): ")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_no_room(tmp_path: Path):
    plan = a_plan(tmp_path / "x")
    both(replace(plan, outputs=(OutputFile(tmp_path / "x", 1 << 60),)), StorageError, "no room")
    assert list(tmp_path.iterdir()) == []


def test_what_resume_cannot_continue(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"xx")
    both(a_plan(tmp_path / "a", tmp_path / "b"), UsageError, "exists already", resume=True)  # a torn set, and no journal
