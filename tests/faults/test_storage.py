"""What the system refuses: a clear error, nothing under a final name, nothing left."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import StorageError
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, Region, TensorJob
from ggufx.converters.run.execute import execute

from ggufx import system

STEPS = ("ftruncate", "pwrite", "preadv", "fsync", "replace")
NUMBERS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def test_every_step(body, make, inject, small_tiles):
    """The system refuses each call in turn, with another reason each time."""
    whole = make(to="undisturbed")
    with inject(0, lambda _: None, *STEPS) as calls:
        execute(whole.plan, engine=small_tiles(1))
    the_journals = [i for i, name in enumerate(calls, 1) if name == "ftruncate"][len(whole.expected)]
    last_rename = len(calls) - calls[::-1].index("replace")
    for number in range(1, len(calls) + 1):
        conversion = make(to=f"step-{number}")
        reason = NUMBERS[number % len(NUMBERS)]

        def refuse(_, reason=reason):
            raise OSError(reason, os.strerror(reason))

        with inject(number, refuse, *STEPS) as seen:
            if number == the_journals:  # a conversion can do without its journal, not without its outputs
                execute(conversion.plan, engine=small_tiles(1))
            else:
                with pytest.raises(StorageError, match=os.strerror(reason)) as caught:
                    execute(conversion.plan, engine=small_tiles(1))
                assert caught.value.hint
                assert caught.value.file
        if number == the_journals or number > last_rename:
            conversion.check_done()
        else:
            assert conversion.nothing(), f"{seen[number - 1]}: {conversion.left()}"


@pytest.mark.parametrize("keep", [False, True])
def test_no_space_in_the_middle(body, make, inject, small_tiles, keep):
    """With keep_partial what was done is of use once there is room."""
    conversion = make()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with inject(20, full, "pwrite"), pytest.raises(StorageError, match=r"shard-.: cannot be written: No space left"):
        execute(conversion.plan, engine=small_tiles(1), keep_partial=keep)
    assert conversion.check() == 0
    assert conversion.nothing() is not keep
    result = execute(conversion.plan, resume=True)
    assert (result.kept > 0) is keep
    conversion.check_done()


def test_short_reads_and_writes(body, make, monkeypatch, small_tiles):
    """A call may move fewer bytes than asked for."""
    conversion = make()
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][: max(1, len(views[0]) // 3)]], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[: max(1, len(data) // 3)], at))
    execute(conversion.plan, engine=small_tiles(2))
    conversion.check_done()


def test_file_size_limit(make, server):
    """Without room for the whole result nothing is begun (ulimit -f; the shell's error is told)."""
    conversion = make()
    status, text = server.run(conversion.plan_file, file_limit=100_000)
    assert status == 1
    assert text.startswith("io: ")
    assert "cannot be written: File too large" in text
    assert conversion.nothing()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True,
                             check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(body, make, small_disk):
    """All outputs together do not fit, though each one does: told before any work, with the figures."""
    conversion = make(to="disk/out")
    assert all(o.size < 256 << 10 for o in conversion.plan.outputs)
    with pytest.raises(StorageError, match=r"no room for the result \(expected at least \d+ bytes, found \d+ bytes"):
        execute(conversion.plan)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up(body, small_disk):
    """While something else takes the room that there was."""
    descriptor = system.open_own(small_disk / "x", os.O_RDWR | os.O_CREAT)
    data, at = memoryview(bytes(1 << 16)), 0

    def fill() -> int:
        return system.pwrite(descriptor, data, at)

    with suppress(OSError):
        while at < 1 << 20:
            at += fill()
    assert at <= 256 << 10
    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    os.close(descriptor)


@pytest.fixture
def ordinary_user():
    """Permissions do not bind root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_folder_without_permission(ordinary_user):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name) / "out"
        folder.mkdir()
        folder.chmod(0o555)
        plan = ConversionPlan("test", (), (OutputFile(folder / "config.json", 2, b"{}"),), (), ())
        with pytest.raises(StorageError, match=r"config.json: cannot be written: Permission denied") as caught:
            execute(plan)
        assert "write to another folder" in caught.value.hint
        assert list(folder.iterdir()) == []
        with pytest.raises(StorageError, match="Permission denied"):
            execute(replace(plan, outputs=(OutputFile(folder / "new" / "config.json", 2, b"{}"),), folder=folder / "new"))


def test_journal_that_cannot_grow(body, make, inject, small_tiles):
    """The journal is an aid: a conversion that has room for its result does not fail for want of room for it."""
    conversion = make()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with inject(2, full, "write"):
        execute(conversion.plan, engine=small_tiles(1))
    conversion.check_done()


def test_background_sync_that_fails(body, make, monkeypatch, small_tiles):
    """The system tells of a lost write once, to whoever syncs first; if that is the trail, it must not be forgotten."""
    conversion = make()
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.SYNC_INTERVAL", 0.0)
    fsync, failed = os.fsync, []

    def fail_once(descriptor):
        if not failed:
            failed.append(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StorageError, match="Input/output error"):
        execute(conversion.plan, engine=small_tiles(2))
    assert conversion.nothing()


def test_result_is_on_disk_before_it_has_a_name(make, monkeypatch):
    """Every file is synced before it is renamed; all others are durable before the one that completes the set."""
    conversion = make()
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.replace

    def note_sync(descriptor):
        events.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def note_rename(old, new):
        events.append(("rename", Path(new).name))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    execute(conversion.plan)
    names = [path.name for path in conversion.expected]
    assert [name for event, name in events if event == "rename"] == names
    for name in names:
        assert events.index(("sync", f"{name}.part")) < events.index(("rename", names[0]))
    assert events.index(("rename", names[-2])) < events.index(("sync", "out")) < events.index(("rename", names[-1]))
    assert ("sync", "out") in events[events.index(("rename", names[-1])) :]
    assert ("sync", conversion.folder.parent.name) in events, "the folder itself is new"


def test_a_tensor_wider_than_memory_is_cut(tmp_path, small_tiles):
    """One row of vectors: even without a first axis to cut along, copies take no memory."""
    source = tmp_path / "in"
    data = np.arange(1 << 18, dtype=np.uint32)
    source.write_bytes(data.tobytes())
    out = tmp_path / "out"
    plan = ConversionPlan("test", (InputFile.of(source),), (OutputFile(out, data.nbytes),), (
        TensorJob("wide", (Region(0, 0, "F32", (1, data.size)),), (), (Region(0, 0, "F32", (1, data.size)),)),), ())
    execute(plan, max_memory=1 << 16)
    assert out.read_bytes() == data.tobytes()
