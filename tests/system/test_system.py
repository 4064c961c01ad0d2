"""The two bodies of `system`, where the conversions of tests/faults do not reach: macOS' calls, and the rules of Windows."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import stand_in
from ggufx.converters.errors import StorageError
from ggufx.converters.plan.plan import ConversionPlan, OutputFile
from ggufx.converters.run.execute import execute

from ggufx.system import posix

ROOM = posix._FSTORE


class Fcntl:
    """macOS' fcntl; `refuses`: the error numbers of its next calls."""

    def __init__(self, *refuses: int) -> None:
        self.calls: list[tuple[int, tuple[int, ...]]] = []
        self.refuses = list(refuses)

    def fcntl(self, descriptor: int, command: int, data: bytes = b"") -> None:
        self.calls.append((command, ROOM.unpack(data) if data else ()))
        if self.refuses and (number := self.refuses.pop(0)):
            raise OSError(number, os.strerror(number))


@pytest.fixture
def opened(tmp_path: Path):
    descriptor = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(("refuses", "flags"), [((), [6]), ((errno.ENOSPC,), [6, 4]), ((errno.EOPNOTSUPP,), [6])])
def test_macos_reserves_in_one_piece_or_in_several(monkeypatch, opened, refuses, flags):
    fake = Fcntl(*refuses)
    monkeypatch.setattr(posix, "fcntl", fake)
    monkeypatch.setattr(posix, "_DARWIN", True)
    posix.reserve(opened, 100_000)
    assert fake.calls == [(42, (flag, 3, 0, 100_000, 0)) for flag in flags]
    assert os.fstat(opened).st_size == 100_000


def test_macos_has_no_room(monkeypatch, opened):
    monkeypatch.setattr(posix, "fcntl", Fcntl(errno.ENOSPC, errno.ENOSPC))
    monkeypatch.setattr(posix, "_DARWIN", True)
    with pytest.raises(OSError, match="No space left"):
        posix.reserve(opened, 100_000)


@pytest.mark.parametrize(("refuses", "synced"), [((), False), ((errno.EOPNOTSUPP,), True)])
def test_macos_flushes_the_drive(monkeypatch, opened, refuses, synced):
    fake, plain = Fcntl(*refuses), []
    monkeypatch.setattr(posix, "fcntl", fake)
    monkeypatch.setattr(posix, "_FULL_SYNC", 51)
    monkeypatch.setattr(os, "fsync", plain.append)
    posix.sync_file(opened)
    assert fake.calls == [(51, ())]
    assert plain == [opened] * synced


def test_macos_tells_of_a_lost_write(monkeypatch, opened):
    monkeypatch.setattr(posix, "fcntl", Fcntl(errno.EIO))
    monkeypatch.setattr(posix, "_FULL_SYNC", 51)
    with pytest.raises(OSError, match="Input/output"):
        posix.sync_file(opened)


def test_linux_begins_to_write_a_range(monkeypatch, opened):
    calls = []

    class Library:
        def __init__(self, *_) -> None:
            self.sync_file_range = lambda *arguments: calls.append([a.value for a in arguments])

    posix.start_sync(opened, 0, 4096)  # whatever this system has
    monkeypatch.setattr(posix.ctypes, "CDLL", Library)
    posix.start_sync(opened, 5 << 32, 1 << 33)
    assert calls == [[opened, 5 << 32, 1 << 33, 2]]


def test_macos_writes_when_it_likes(monkeypatch, opened):
    monkeypatch.setattr(posix.ctypes, "CDLL", lambda *_: object())
    posix.start_sync(opened, 0, 4096)


@pytest.fixture
def rules(tmp_path, monkeypatch) -> stand_in.Windows:
    return stand_in.install(monkeypatch)


def one_file(path: Path) -> ConversionPlan:
    return ConversionPlan("test", (), (OutputFile(path, 2, b"{}"),), (), ())


def test_windows_files_are_not_text(rules, tmp_path):
    with pytest.raises(AssertionError, match="opened as text"):
        os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)


def test_an_output_that_a_runtime_has_open(rules, tmp_path):
    """Its place is not taken, what it holds stays, and the error says what to do."""
    path = tmp_path / "config.json"
    path.write_bytes(b"old")
    reader = os.open(path, os.O_RDONLY | stand_in.BINARY)
    with pytest.raises(StorageError, match=r"config.json: cannot be written: another program has the file open") as caught:
        execute(one_file(path), force=True)
    assert "Close the program" in caught.value.hint
    os.close(reader)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"config.json": b"old"}
    execute(one_file(path), force=True)
    assert path.read_bytes() == b"{}"


def test_a_folder_that_takes_no_files(rules, monkeypatch, tmp_path):
    """The file that is not there is not what is told."""
    def refused(path: Path, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(rules, "open", refused)
    with pytest.raises(StorageError, match=r"config.json: cannot be written: Permission denied") as caught:
        execute(one_file(tmp_path / "config.json"))
    assert "write to another folder" in caught.value.hint


def test_without_reservation_or_locks(rules, monkeypatch, tmp_path):
    """File systems that refuse both (network drives) take the result all the same."""
    def refused(*_: object) -> int:
        rules.code = 50
        return 0

    def only_sizes(handle: object, kind: int, *more: object, call=rules.SetFileInformationByHandle) -> int:
        return refused() if kind == stand_in.ALLOCATION else call(handle, kind, *more)

    monkeypatch.setattr(rules, "LockFileEx", refused)
    monkeypatch.setattr(rules, "SetFileInformationByHandle", only_sizes)
    execute(one_file(tmp_path / "config.json"))
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_terminal_that_cannot_show_a_character(tmp_path):
    """It is named, in place of a UnicodeEncodeError; a document stays a document."""
    path = tmp_path / "模型✓😀.gguf"
    for arguments in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-m", "ggufx", "inspect", path, *arguments], capture_output=True,
                              env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"})
        assert done.returncode == 3, done.stderr
        assert rb"\u6a21\u578b\u2713" in done.stderr + done.stdout
        assert b"Traceback" not in done.stderr
    assert "😀" in json.loads(done.stdout)["error"]["file"]
