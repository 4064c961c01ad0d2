"""Checksums and syncing behind the writers."""

from __future__ import annotations

import hashlib
import os
import random
import time

import pytest
from ggufx.converters.errors import StorageError
from ggufx.converters.run.hash_and_sync import Trail
from ggufx.converters.run.open_files import OpenFiles


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
    with Trail(OpenFiles([], [output]), [output], True, lambda: None) as trail:
        for start, stop in ranges:
            trail.written(0, start, stop)
        assert trail.finish(2) == [hashlib.sha256(output[1].read_bytes()).hexdigest()]


def test_bytes_are_not_read_before_they_are_final(output, monkeypatch):
    """What lies behind a hole may still change."""
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.HASH_AT_ONCE", 1000)
    with Trail(OpenFiles([], [output]), [output], True, lambda: None) as trail:
        trail.written(0, 50_000, 100_000)
        time.sleep(0.02)
        os.pwrite(output[0], bytes(50_000), 0)
        trail.written(0, 0, 50_000)
        (digest,) = trail.finish(1)
    assert digest == hashlib.sha256(output[1].read_bytes()).hexdigest()


def test_syncs_data_before_the_journal(output, monkeypatch):
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.SYNC_INTERVAL", 0.01)
    events, fsync = [], os.fsync

    def note(descriptor):
        events.append("data")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with Trail(OpenFiles([], [output]), [output], False, lambda: events.append("journal")) as trail:
        while events.count("journal") < 3:
            time.sleep(0.001)
        assert trail.finish(1) == [None]
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
    with Trail(OpenFiles([], [output]), [output], True, lambda: None) as trail:
        while not failed:
            time.sleep(0.001)
        with pytest.raises(StorageError, match="cannot be written: Input/output error"):
            trail.finish(1)
