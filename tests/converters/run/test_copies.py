"""Copies by the system: whatever it does or leaves undone, the bytes are the source's, or the error says why not."""

import errno
import os
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, StorageError
from ggufx.converters.plan.plan import InputFile
from ggufx.converters.run.open_files import OpenFiles, open_inputs

DATA = bytes(range(256)) * 4096
AT, TO, COUNT = 4096, 8192, len(DATA) - 4096 - 77  # whole blocks


def copied(folder: Path, count: int = COUNT, sealed: frozenset[int] = frozenset(), to: int = TO) -> bytes:
    """What an output holds behind a copy."""
    (folder / "in").write_bytes(DATA)
    (folder / "out").write_bytes(b"\1" * (to + COUNT))
    with open_inputs([InputFile.of(folder / "in")]) as inputs, (folder / "out").open("r+b") as out:
        OpenFiles(inputs, [(out.fileno(), folder / "out")], sealed).copy((0, AT), (0, to), count)
    return (folder / "out").read_bytes()


RIGHT = b"\1" * TO + DATA[AT:AT + COUNT]


def short(*arguments, **options):
    """At most a few bytes a call."""
    source, target, count, *offsets = arguments
    return REAL(source, target, min(count, 300_001), *offsets)


REAL = getattr(os, "copy_file_range", None)


def refusing(code: int, after: int = 0):
    calls = []

    def refuse(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise OSError(code, os.strerror(code))
        return short(*arguments)

    return refuse


@pytest.mark.skipif(REAL is None, reason="the system has no copy_file_range")
@pytest.mark.parametrize("system", [
    REAL, short, lambda *_: 0, refusing(errno.EXDEV), refusing(errno.ENOSYS), refusing(errno.EOPNOTSUPP, 1),
    refusing(errno.EIO, 2),
], ids=["whole", "in pieces", "nothing", "another file system", "no call", "stops", "fails"])
def test_what_the_system_leaves_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system):
    monkeypatch.setattr(os, "copy_file_range", system)
    assert copied(tmp_path) == RIGHT


@pytest.mark.skipif(REAL is None, reason="the system has no copy_file_range")
@pytest.mark.parametrize("device", [0, 8], ids=["a server's", "a disk"])
@pytest.mark.parametrize("to", [TO, TO + 27], ids=["whole blocks", "across blocks"])
def test_what_the_system_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: int, to: int):
    """Blocks of this machine's disks are shared as a whole, or not; a server copies anything."""
    asked = []
    monkeypatch.setattr(os, "major", lambda _: device, raising=False)
    monkeypatch.setattr(os, "copy_file_range", lambda *_: asked.append(1) or 0, raising=False)
    assert copied(tmp_path, to=to) == b"\1" * to + DATA[AT:AT + COUNT]
    assert bool(asked) is (device == 0 or to == TO)


def test_without_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert copied(tmp_path) == RIGHT


def test_a_sealed_output_is_left_alone(tmp_path: Path):
    assert copied(tmp_path, sealed=frozenset({0})) == b"\1" * (TO + COUNT)


def test_the_error_is_that_of_reading_or_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="shrank"):
        copied(tmp_path, count=len(DATA))
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.ENOSPC), raising=False)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="No space left"):
        copied(tmp_path)
