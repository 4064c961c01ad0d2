"""Sources that change while they are read: told, and nothing is published."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, ManyErrors
from ggufx.converters.run.execute import execute


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def shrink(path: Path) -> None:
    os.truncate(path, 100)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def swap(path: Path) -> None:
    """Another file of the same size and time takes the name."""
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)


CHANGES = {touch: "changed since", shrink: "changed since|shrank", grow: "changed since", swap: "changed since",
           Path.unlink: "vanished"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("source", [0, 1])
def test_in_the_middle(make, small_tiles, change, source):
    conversion = make()
    path = conversion.plan.inputs[source].path

    def progress(done, total, name):
        if path.exists() and path.stat().st_mtime_ns == conversion.plan.inputs[source].mtime_ns:
            change(path)

    with pytest.raises(InputError, match=CHANGES[change]) as caught:
        execute(conversion.plan, progress=progress, engine=small_tiles(2), keep_partial=False)
    assert caught.value.file == str(path)
    assert conversion.nothing()


@pytest.mark.parametrize("change", [c for c in CHANGES if c is not Path.unlink and c is not swap],
                         ids=lambda c: c.__name__)
def test_between_plan_and_execution(make, change):
    conversion = make()
    change(conversion.plan.inputs[1].path)
    with pytest.raises(InputError, match="changed since"):
        execute(conversion.plan)
    assert not conversion.folder.exists()


def test_vanished_before(make):
    conversion = make()
    conversion.plan.inputs[1].path.unlink()
    with pytest.raises(InputError, match=r"source-0-1.bin: no such file"):
        execute(conversion.plan)
    assert not conversion.folder.exists()


def test_changed_before_resume(make, inject, small_tiles):
    """Receipts of other sources are of no use: the new plan does not take them."""
    conversion = make()

    def stop(_):
        raise KeyboardInterrupt

    with inject(20, stop, "pwrite"), pytest.raises(KeyboardInterrupt):
        execute(conversion.plan, engine=small_tiles(1), keep_partial=True)
    left = conversion.left()
    touch(conversion.plan.inputs[0].path)
    with pytest.raises(InputError, match="changed since"):
        execute(conversion.plan, resume=True)
    again = make()  # planned anew from the touched source
    with pytest.raises(Exception, match="belongs to another conversion"):
        execute(again.plan, resume=True)
    assert conversion.left() == left, "a refusal removes nothing"
    result = execute(again.plan)
    assert {p.name for p in result.leftovers} == set(left)
    again.check_done()


def test_a_plan_that_contradicts_itself(make):
    """A plan may have been stored and changed: what it says of its files is checked before a byte is written."""
    plan = make().plan
    half = plan.jobs[0]

    def with_job(**changes):
        return replace(plan, jobs=(replace(half, **changes), *plan.jobs[1:]))

    behind = replace(half.sources[0], offset=plan.inputs[0].size)
    cases = {
        "reads outside of a source": with_job(sources=(behind,)),
        "writes outside of the file": with_job(outputs=(replace(half.outputs[0], offset=plan.outputs[0].size),)),
        "writes byte 0 twice": with_job(outputs=(replace(half.outputs[0], offset=0),)),
        "writes a file twice": replace(plan, outputs=(*plan.outputs, plan.outputs[0])),
    }
    for message, broken in cases.items():
        with pytest.raises((InputError, ManyErrors), match="plan") as caught:
            execute(broken)
        assert message in str(caught.value)
    assert not plan.outputs[0].path.parent.exists()
