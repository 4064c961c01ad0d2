"""Checksums and syncing behind the writers."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time

import pytest
from ggufx.converters.errors import StorageError
from ggufx.converters.run.hash_and_sync import Trail
from ggufx.converters.run.open_files import OpenFiles

from ggufx import system

SETTINGS = "ggufx.converters.run.hash_and_sync."


class Hashing(OpenFiles):
    """Says what is read to be hashed, before it is."""

    def __init__(self, outputs, said) -> None:
        super().__init__([], outputs)
        self.said = said

    def written(self, file, offset, nbytes, *piece):
        self.said(file, nbytes)
        return super().written(file, offset, nbytes, *piece)


@pytest.fixture
def output(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(os.urandom(100_000))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor, path
    os.close(descriptor)


def test_any_order(output, monkeypatch):
    """Ranges arrive in any order, some of no length; the checksum is that of the file."""
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.HASH_AT_ONCE", 1000)
    ranges = [(at, min(at + 777, 100_000)) for at in range(0, 100_000, 777)] + [(5000, 5000)]
    random.Random(0).shuffle(ranges)
    with Trail(OpenFiles([], [output]), [output], True, lambda: None, 2) as trail:
        for start, stop in ranges:
            trail.written(0, start, stop)
        assert trail.finish() == [hashlib.sha256(output[1].read_bytes()).hexdigest()]


def test_bytes_are_not_read_before_they_are_final(output, monkeypatch):
    """What lies behind a hole may still change."""
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.HASH_AT_ONCE", 1000)
    with Trail(OpenFiles([], [output]), [output], True, lambda: None, 2) as trail:
        trail.written(0, 50_000, 100_000)
        time.sleep(0.02)
        os.pwrite(output[0], bytes(50_000), 0)
        trail.written(0, 0, 50_000)
        (digest,) = trail.finish()
    assert digest == hashlib.sha256(output[1].read_bytes()).hexdigest()


def test_syncs_data_before_the_journal(output, monkeypatch):
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.SYNC_INTERVAL", 0.01)
    events, fsync = [], os.fsync

    def note(descriptor):
        events.append("data")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with Trail(OpenFiles([], [output]), [output], False, lambda: events.append("journal"), 1) as trail:
        while events.count("journal") < 3:
            time.sleep(0.001)
        assert trail.finish() == [None]
    assert events[:4] == ["data", "journal", "data", "journal"]
    assert events[-1] == "data"


def test_failure_is_told_at_the_end_at_the_latest(output, monkeypatch):
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.SYNC_INTERVAL", 0.0)
    failed = []

    def fail_once(descriptor):
        if not failed:
            failed.append(descriptor)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    with Trail(OpenFiles([], [output]), [output], True, lambda: None, 2) as trail:
        while not failed:
            time.sleep(0.001)
        with pytest.raises(StorageError, match="cannot be written: Input/output error"):
            trail.finish()


@pytest.mark.parametrize("order", ["as the file is", "from its end", "by chance"])
def test_a_conversion_does_not_run_away(output, monkeypatch, order):
    """However fast it is, no more than so much waits to be hashed, of what can be."""
    monkeypatch.setattr(SETTINGS + "HASH_AT_ONCE", 1000)
    monkeypatch.setattr(SETTINGS + "MAX_AHEAD", 5000)
    ranges = [(at, at + 500) for at in range(0, 100_000, 500)]
    if order == "from its end":
        ranges.reverse()  # nothing can be hashed before the last is written
    elif order == "by chance":
        random.Random(1).shuffle(ranges)
    hashed, done = [], 0
    with Trail(Hashing([output], lambda file, nbytes: hashed.append(nbytes)), [output], True, lambda: None, 1) as trail:
        for start, stop in ranges:
            trail.written(0, start, stop)
            trail.keep_pace(stop - start)
            done += stop - start
            assert order != "as the file is" or done - sum(hashed) <= 5000
        assert trail.finish() == [hashlib.sha256(output[1].read_bytes()).hexdigest()]


def test_what_was_ahead_before_is_not_waited_for(output, monkeypatch):
    """Kept bytes of an interrupted run may be many: hashing gets to them while the rest is converted."""
    monkeypatch.setattr(SETTINGS + "MAX_AHEAD", 5000)
    hold = threading.Event()
    with Trail(Hashing([output], lambda *_: hold.wait()), [output], True, lambda: None, 1) as trail:
        trail.written(0, 0, 90_000)
        for start in range(90_000, 95_000, 500):
            trail.written(0, start, start + 500)
            trail.keep_pace(500)
        hold.set()
        trail.written(0, 95_000, 100_000)
        assert trail.finish() == [hashlib.sha256(output[1].read_bytes()).hexdigest()]


@pytest.fixture
def outputs(tmp_path):
    made = []
    for number in range(40):
        (tmp_path / f"{number}").write_bytes(os.urandom(900))
        made.append((os.open(tmp_path / f"{number}", os.O_RDWR), tmp_path / f"{number}"))
    yield made
    for descriptor, _ in made:
        os.close(descriptor)


def test_many_small_files_are_hashed_too(outputs, monkeypatch):
    """None of them has enough to be hashed by itself, all together have too much."""
    monkeypatch.setattr(SETTINGS + "HASH_AT_ONCE", 1000)
    monkeypatch.setattr(SETTINGS + "MAX_AHEAD", 5000)
    with Trail(OpenFiles([], outputs), outputs, True, lambda: None, 2) as trail:
        for number in range(len(outputs)):
            trail.written(number, 0, 900)
            trail.keep_pace(900)
        assert trail.finish() == [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in outputs]


def test_files_are_hashed_side_by_side(outputs, monkeypatch):
    monkeypatch.setattr(SETTINGS + "HASH_AT_ONCE", 900)
    together = threading.Barrier(2, timeout=60)
    with Trail(Hashing(outputs[:2], lambda *_: together.wait()), outputs[:2], True, lambda: None, 2) as trail:
        trail.written(0, 0, 900)
        trail.written(1, 0, 900)
        while sum(f.hashed for f in trail._frontiers) < 1800:
            time.sleep(0.001)
            trail.written(0, 900, 900)  # raises what went wrong
        trail.finish()


def test_waiting_ends_where_hashing_fails(output, monkeypatch):
    monkeypatch.setattr(SETTINGS + "MAX_AHEAD", 5000)

    def fail(*_):
        raise StorageError("cannot be read: Input/output error")

    with Trail(Hashing([output], fail), [output], True, lambda: None, 1) as trail:
        trail.written(0, 0, 50_000)
        trail.keep_pace(50_000)
        with pytest.raises(StorageError, match="cannot be read"):
            trail.written(0, 50_000, 100_000)


def test_the_disk_writes_meanwhile(output, monkeypatch):
    """What is final is given to it once, in order."""
    monkeypatch.setattr(SETTINGS + "FLUSH_AT_ONCE", 10_000)
    given = []
    monkeypatch.setattr(system, "start_sync", lambda descriptor, start, count: given.append((start, start + count)))
    with Trail(OpenFiles([], [output]), [output], False, lambda: None, 1) as trail:
        for start in range(0, 100_000, 2000):
            trail.written(0, start, start + 2000)
        while not given or given[-1][1] < 90_000:
            time.sleep(0.001)
        assert trail.finish() == [None]
    assert [start for start, _ in given] == [0, *(stop for _, stop in given[:-1])]
