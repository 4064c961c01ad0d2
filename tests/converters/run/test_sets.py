"""Several sets of several files: a set becomes visible together, and one that fails leaves the others alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import InputError, ManyErrors, StorageError
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob
from ggufx.converters.planners.many_outputs import merged
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute

KINDS = ("F32", "F16", "BF16")
ROWS = 64


class Small(Threads):
    """Tiles of a few rows."""

    def tile_bytes(self, max_memory, job=None):
        return 4096


def plan_of(folder: Path, values: np.ndarray, kind: str) -> ConversionPlan:
    """Two files in one type: the first half of the rows, and the second."""
    source = folder / "source"
    if not source.exists():
        values.tofile(source)
    whole, half = Region(0, 0, "F32", values.shape), (ROWS // 2, values.shape[1])
    parts = [replace(whole, shape=half), replace(whole, offset=whole.nbytes // 2, shape=half)]
    outputs = [Region(file, 8, kind, half) for file in range(2)]
    files = [OutputFile(folder / f"{kind}-{i}", 8 + outputs[i].nbytes, f"head {i}".encode()) for i in range(2)]
    jobs = [TensorJob(f"t{i}", (parts[i],), (), (outputs[i],)) for i in range(2)]
    return ConversionPlan("test", (InputFile.of(source),), tuple(files), tuple(jobs),
                          tuple(PlannedTensor(f"t{i}", kind, half) for i in range(2)), facts={"file_type": kind})


@pytest.fixture
def plan(tmp_path: Path):
    """`plan(value)`: three sets of two files, of values with this one in the second half of the rows."""
    def made(value: float = 0) -> ConversionPlan:
        values = np.random.default_rng(0).standard_normal((ROWS, 96)).astype(np.float32)
        values[50, 7] = value
        return merged([plan_of(tmp_path, values, kind) for kind in KINDS])

    return made


def made(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "source")


def check(folder: Path, *kinds: str) -> None:
    """These sets are complete and right, and nothing else is there."""
    assert made(folder) == sorted(f"{kind}-{i}" for kind in kinds for i in range(2))
    alone = folder / "alone"
    alone.mkdir()
    os.link(folder / "source", alone / "source")
    for kind in kinds:
        result = execute(plan_of(alone, np.empty((ROWS, 96), np.float32), kind))
        for file in result.files:
            assert file.path.read_bytes() == (folder / file.path.name).read_bytes()


def test_a_plan_of_sets_is_data(plan):
    many = plan()
    assert [[o.path.name for o in files] for files in many.sets] == [[f"{kind}-{i}" for i in range(2)] for kind in KINDS]
    assert [(t.set, t.type) for t in many.tensors] == [(i, kind) for i, kind in enumerate(KINDS) for _ in range(2)]
    assert many.facts["sets"] == [{"file_type": kind} for kind in KINDS]
    assert len(many.jobs) == 2, "each source is read once"
    assert [[r.file for r in job.outputs] for job in many.jobs] == [[0, 2, 4], [1, 3, 5]]
    again = ConversionPlan.from_json(many.to_json())
    assert again == many
    others = replace(many, outputs=tuple(replace(o, set=min(o.set, 1)) for o in many.outputs))
    assert again.digest() == many.digest() != others.digest()


def test_all_are_made(plan, tmp_path: Path):
    result = execute(plan(), engine=Small(2))
    assert [f.path.name for f in result.files] == [f"{kind}-{i}" for kind in KINDS for i in range(2)]
    assert result.failures == ()
    check(tmp_path, *KINDS)


@pytest.mark.parametrize("resume", [False, True])
def test_a_value_that_one_set_cannot_hold(plan, tmp_path: Path, resume):
    """Its other file, which could be made, is not there either; the failure names the set by its last file."""
    result = execute(plan(1e6), engine=Small(2), resume=resume)
    assert [f.path.name for f in result.files] == ["F32-0", "F32-1", "BF16-0", "BF16-1"]
    (failure,) = result.failures
    assert failure.path == tmp_path / "F16-1"
    assert isinstance(failure.error, InputError)
    assert "row 18, column 7" in str(failure)
    check(tmp_path, "F32", "BF16")


def test_a_set_that_cannot_be_published(plan, tmp_path: Path, monkeypatch):
    """Its first file has its name already, and is taken back."""
    real = os.replace

    def refuse(old, new):
        if Path(new).name == "F16-1":
            raise OSError(5, "Input/output error")
        real(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        result = execute(plan())
    (failure,) = result.failures
    assert failure.path.name == "F16-1"
    assert isinstance(failure.error, StorageError)
    check(tmp_path, "F32", "BF16")


def test_a_failed_set_leaves_the_old_one(plan, tmp_path: Path):
    for i in range(2):
        (tmp_path / f"F16-{i}").write_text("old")
    result = execute(plan(1e6), force=True)
    assert len(result.failures) == 1
    assert [(tmp_path / f"F16-{i}").read_text() for i in range(2)] == ["old"] * 2
    assert len(result.files) == 4


def test_no_set_can_be_made(plan, tmp_path: Path):
    many = plan(1e6)
    nothing = replace(many, jobs=tuple(replace(j, outputs=tuple(replace(r, type="F16") for r in j.outputs)) for j in many.jobs))
    with pytest.raises(ManyErrors, match="has no place in F16"):
        execute(nothing, engine=Small(1))
    assert made(tmp_path) == []


@pytest.mark.parametrize("number", range(1, 7))
def test_interrupted_between_renames(plan, tmp_path: Path, interrupted_rename, number):
    """Sets that are through stay; of the one that was under way nothing is seen; resuming completes it."""
    many = plan(1e6 if number == 4 else 0)
    with interrupted_rename(number):
        execute(many, resume=True)
    sets = [kind for kind in KINDS if number != 4 or kind != "F16"]
    through = sets[: (number - 1) // 2]
    there = [name for name in made(tmp_path) if not name.endswith((".part", "journal"))]
    assert there == sorted(f"{kind}-{i}" for kind in through for i in range(2))
    result = execute(many, resume=True)
    assert result.kept == result.receipts or number == 4, "everything was done already"
    assert len(result.failures) == (number == 4)
    check(tmp_path, *sets)


def test_sets_that_are_not_in_order(plan, tmp_path: Path):
    many = plan()
    for numbers in ((0, 1, 0, 1, 2, 2), (1, 1, 0, 0, 2, 2), (0, 0, 2, 2, 3, 3)):
        mixed = replace(many, outputs=tuple(replace(o, set=n) for o, n in zip(many.outputs, numbers, strict=True)))
        with pytest.raises(InputError, match="not in order"):
            execute(mixed)
    assert made(tmp_path) == []
