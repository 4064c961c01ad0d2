"""Small files: complete under their name, or not there; what is no file is written to as it is."""

import errno
import os
import threading
from pathlib import Path

import pytest
from ggufx.converters.errors import StorageError, UsageError
from ggufx.converters.io.whole_files import check_writable, whole_file, write_text

from ggufx import system


def test_what_ends_early_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.txt"
    for before in (None, "old"):
        if before:
            path.write_text(before)

        def interrupted():
            with whole_file(path) as file:
                file.write(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert [p.read_text() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(system, "sync_file", full)
    with pytest.raises(StorageError, match=r"a\.txt: cannot be written: No space left"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(Path("there") / "a.txt")
    write_text(link, "ä\n")
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.txt").read_bytes() == "ä\n".encode()
    assert len(list((tmp_path / "there").iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_written_to(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    check_writable(pipe, force=True)
    write_text(pipe, "text")
    reader.join()
    assert got == ["text"]
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_what_would_fail_is_said_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_text("old")
    check_writable(None, False)
    check_writable(tmp_path / "b.txt", False)
    check_writable(tmp_path / "a.txt", True)
    for path, kind in ((tmp_path / "a.txt", UsageError), (tmp_path, UsageError), (tmp_path / "no" / "c.txt", StorageError)):
        with pytest.raises(kind):
            check_writable(path, False)
    for closed in (tmp_path, tmp_path / "a.txt"):  # the folder, in which it is made; the file
        monkeypatch.setattr(os, "access", lambda where, _, closed=closed: where != closed)
        with pytest.raises(StorageError, match="may not be written"):
            check_writable(tmp_path / "a.txt", True)
