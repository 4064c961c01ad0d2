"""The journal: what is written comes back, up to the first damaged line."""

from __future__ import annotations

import os

import pytest
from ggufx.converters.errors import StorageError
from ggufx.converters.plan.tiles import Tile
from ggufx.converters.run.journal import Journal, Receipt, Record, read_journal

RECEIPTS = tuple(Receipt(i, Tile(i, i + 2, 40), (i, 2**32 - 1)[: i % 3]) for i in range(8))


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "x.ggufx-journal"
    journal = Journal(path, "a plan", [tmp_path / "x", tmp_path / "y", tmp_path / "z" / "z"])
    for receipt in RECEIPTS:
        journal.append(receipt)
    journal.write()
    journal.sync()
    journal.close()
    return path


def test_comes_back(written):
    assert read_journal(written) == Record("a plan", ("x", "y"), RECEIPTS, written.stat().st_size)


def test_absent(tmp_path):
    assert read_journal(tmp_path / "none") is None


def test_cut_at_every_byte(written):
    """A torn tail costs the torn receipt, no more."""
    data = written.read_bytes()
    for size in range(len(data)):
        written.write_bytes(data[:size])
        lines = data[:size].count(b"\n")
        record = read_journal(written)
        assert record.identity == ("a plan" if lines else None)
        assert record.receipts == RECEIPTS[: max(lines - 1, 0)]
        assert record.size == (data[:size].rfind(b"\n") + 1 if lines else 0)


def test_every_byte_damaged(written):
    """A damaged line and all behind it are dropped; no damaged receipt is read."""
    data = written.read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x04
        written.write_bytes(damaged)
        record = read_journal(written)
        line = data[:at].count(b"\n")
        assert record.receipts == RECEIPTS[: max(line - 1, 0)]


def test_continues_behind_the_sound_part(written):
    sound = read_journal(written)
    written.write_bytes(written.read_bytes() + b"torn")
    record = read_journal(written)
    assert record == sound
    journal = Journal(written, "a plan", [], record)
    more = Receipt(30, Tile(0, 1, 1), ())
    journal.append(more)
    journal.write()
    journal.close()
    assert read_journal(written).receipts == (*RECEIPTS, more)


def test_begins_anew(written):
    journal = Journal(written, "another plan", [])
    journal.close()
    assert read_journal(written) == Record("another plan", (), (), written.stat().st_size)
    journal.remove()
    assert not written.exists()


def test_is_not_written_or_read_through_a_link(written, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(written)
    with pytest.raises(StorageError):
        read_journal(link)
    journal = Journal(link, "another plan", [])
    journal.close()
    assert not link.is_symlink()
    assert read_journal(written).identity == "a plan"


def test_falls_silent(tmp_path, monkeypatch):
    """No room for the journal: the receipts so far stay, nothing is raised."""
    path = tmp_path / "x"
    journal = Journal(path, "a plan", [])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        journal.append(RECEIPTS[0])
        journal.write()
    journal.append(RECEIPTS[1])
    journal.write()
    journal.sync()
    assert read_journal(path).receipts == ()
    nowhere = Journal(tmp_path / "no folder" / "x", "a plan", [])
    nowhere.append(RECEIPTS[0])
    nowhere.write()
