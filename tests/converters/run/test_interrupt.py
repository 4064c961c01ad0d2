"""An interrupt keeps what was done, where anything was; --resume goes on, and has nothing to do on what is finished."""

from __future__ import annotations

import pytest
from ggufx.converters.errors import UsageError
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from zoo.changed import change_gguf, rows, with_rows

import ggufx


class Interrupted(Threads):
    """Ctrl-C before the n-th tile."""

    def __init__(self, tiles: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__(1)
        self.left, self.error = tiles, error

    def spread(self, work, convert, max_memory):
        for receipt in super().spread(work, convert, max_memory):
            if not self.left:
                raise self.error
            self.left -= 1
            yield receipt


@pytest.fixture
def plan(zoo, tmp_path):
    return ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "a.gguf", outtype="q8_0", dry_run=True)


def test_what_was_done_is_kept_and_taken_up(plan, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        execute(plan, engine=Interrupted(3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gguf.ggufx-journal", "a.gguf.part"]
    (note,) = caught.value.__notes__
    assert "--resume" in note
    assert "%" in note
    result = execute(plan, resume=True)
    assert result.kept == 3
    assert 0 < result.bytes_kept < plan.output_bytes
    assert [p.name for p in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.parametrize("tiles", [0, 3])
def test_nothing_worth_keeping_and_errors_leave_nothing(plan, tmp_path, tiles: int):
    with pytest.raises(ValueError if tiles else KeyboardInterrupt) as caught:
        execute(plan, engine=Interrupted(tiles, ValueError if tiles else KeyboardInterrupt))
    assert not hasattr(caught.value, "__notes__")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outtype", ["q8_0", "bf16", ["q4_0", "f16"]])
def test_a_finished_result_is_compared_and_nothing_is_written(zoo, tmp_path, outtype):
    plan = ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "{outtype}.gguf", outtype=outtype, dry_run=True)
    first = execute(plan)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    again = execute(plan, resume=True)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
    assert [f.sha256 for f in again.files] == [f.sha256 for f in first.files]
    assert again.bytes_written == 0
    assert again.bytes_kept == plan.output_bytes - sum(len(o.head) + 0 for o in plan.outputs) - _padding(plan)


def _padding(plan) -> int:
    return plan.output_bytes - sum(len(o.head) for o in plan.outputs) - sum(r.nbytes for j in plan.jobs for r in j.outputs)


def test_a_finished_result_of_something_else_is_refused(plan, tmp_path):
    """A file of the same name, size and header with other weights is not what this conversion makes."""
    execute(plan)

    def other(held):
        held["blk.0.ffn_up.weight"] = with_rows(held["blk.0.ffn_up.weight"], rows(held["blk.0.ffn_up.weight"])[::-1])

    change_gguf(tmp_path / "a.gguf", tmp_path / "b.gguf", other)
    assert (tmp_path / "b.gguf").stat().st_size == (tmp_path / "a.gguf").stat().st_size
    (tmp_path / "b.gguf").rename(tmp_path / "a.gguf")
    with pytest.raises(UsageError, match="exists already") as caught:
        execute(plan, resume=True)
    assert "not what this conversion makes" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["a.gguf"]


