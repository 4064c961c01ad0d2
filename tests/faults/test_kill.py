"""A process that is killed, at every step of it: no torn output, and the next run completes what it left."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.run import hash_and_sync, journal
from ggufx.converters.run.execute import execute

STEPS = ("open", "ftruncate", "pwrite", "preadv", "fsync", "replace", "unlink", "write")


def kill_after(server, plan_file: Path, seconds: float, **request) -> tuple[int, str]:
    pid = server.start(plan_file, **request)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return server.wait()


@pytest.fixture
def by_count(monkeypatch):
    """What goes by the clock goes by count instead, as in a process that dies at a call: conftest.py."""
    monkeypatch.setattr(journal, "WRITE_INTERVAL", -1)
    monkeypatch.setattr(hash_and_sync, "SYNC_INTERVAL", 1e9)


def test_every_step(body, make, server, inject, small_tiles, by_count):
    """Killed before each system call in turn; then resumed or started over."""
    whole = make(to="undisturbed")
    with inject(0, lambda _: None, *STEPS) as calls:
        execute(whole.plan, engine=small_tiles(1))
    whole.check_done()
    seen = set()
    tiles = range(calls.index("preadv"), len(calls) - calls[::-1].index("pwrite"))
    # Threads take turns, so the last calls of the tiles may change places with the first ones behind them.
    numbers = chain(range(1, tiles.start), tiles[:-8:8], range(tiles.stop - 8, len(calls) + 2))
    for turn, number in enumerate(numbers):
        conversion = make(to=f"step-{number}")
        status, _ = server.run(conversion.plan_file, threads=1, die_at=[STEPS, number], body=body)
        assert status == (-signal.SIGKILL if number <= len(calls) else 0)
        published = conversion.check()
        seen.add((published, bool(conversion.left())))
        resume = turn % 2 == 0
        result = execute(conversion.plan, resume=resume, force=not resume and published > 0, engine=small_tiles(1)) \
            if status else None
        conversion.check_done()
        if result and resume:
            assert result.leftovers == ()
    assert {(0, False), (0, True), (1, True), (2, True), (3, True), (4, True), (4, False)} == seen


def test_random_moments(make, server, small_tiles):
    """Killed, resumed, the resuming run killed again, resumed."""
    rng = random.Random(1)
    reference = make(to="reference")
    begun = time.monotonic()
    assert server.run(reference.plan_file, delay=0.001) == (0, "")
    whole = time.monotonic() - begun
    kept = killed = 0
    for trial in range(400):
        if trial >= 40 and killed > 10:  # how many runs are done before their moment comes depends on the machine
            break
        conversion = make(to=f"trial-{trial}")
        for _ in range(rng.choice((1, 1, 2))):
            status, text = kill_after(server, conversion.plan_file, rng.uniform(0, whole), delay=0.001,
                                      options={"resume": True})
            assert status in (0, -signal.SIGKILL), text
            done = conversion.check() == len(conversion.expected) and not conversion.left()
            if done:
                break
        if not done:
            killed += 1
            kept += execute(conversion.plan, resume=True, engine=small_tiles(2)).kept
        conversion.check_done()
    assert killed > 10
    assert kept > 0, "no receipt was ever of use"


@pytest.mark.parametrize("stop", [["pwrite", 30], ["replace", 3], ["unlink", 1]], ids=lambda s: s[0])
def test_every_step_of_resuming(body, make, server, inject, small_tiles, by_count, stop):
    """A run killed while it writes, publishes or tidies up; the run that resumes it killed at each step in turn."""
    name, number = stop
    first = make()
    assert server.run(first.plan_file, threads=1, die_at=[[name], number], body=body)[0] == -signal.SIGKILL
    state = first.folder.with_name("state")
    shutil.copytree(first.folder, state)
    with inject(0, lambda _: None, *STEPS) as calls:
        execute(first.plan, resume=True, engine=small_tiles(1))
    first.check_done()
    numbers = [n for n in range(1, len(calls) + 1) if calls[n - 1] not in ("preadv", "pwrite") or n % 16 == 0]
    for number in numbers:
        shutil.rmtree(first.folder)
        shutil.copytree(state, first.folder)
        status, text = server.run(first.plan_file, threads=1, die_at=[STEPS, number], options={"resume": True},
                                  body=body)
        assert status in (0, -signal.SIGKILL), text
        if first.check() < len(first.expected) or first.left():
            execute(first.plan, resume=True, engine=small_tiles(1))
        first.check_done()


@pytest.mark.parametrize("force", [False, True])
def test_during_renames(body, make, server, force):
    """Before each rename: those that are through are complete; with --force the old set ends before the new begins."""
    for number in range(1, 5):
        conversion = make(to=f"rename-{number}")
        if force:
            conversion.folder.mkdir()
            for path in conversion.expected:
                path.write_bytes(b"old")
        status, _ = server.run(conversion.plan_file, die_at=[["replace"], number], options={"force": force})
        assert status == -signal.SIGKILL
        states = [path.read_bytes() == data if path.exists() else None for path, data in conversion.expected.items()]
        assert states[: number - 1] == [True] * (number - 1)
        assert states[number - 1 :] == ([False] * (4 - number) + [None] if force else [None] * (5 - number))
        result = execute(conversion.plan, resume=True, force=force)
        assert result.kept == result.receipts, "everything was done already"
        conversion.check_done()


def test_outputs_that_do_not_belong_together(body, make, server):
    """A plan of sets of one output each dies between two renames, one output failed before: the others are still known."""
    conversion = make()
    source = conversion.plan.inputs[0].path
    values = np.fromfile(source, np.float32)
    values[5] = 1e6  # has no place in the F16 of the first shard; the second keeps float32
    values.tofile(source)
    plan = make().plan
    plan = replace(plan, outputs=tuple(replace(o, set=i) for i, o in enumerate(plan.outputs)))
    conversion.plan_file.write_text(json.dumps(plan.to_json()))
    assert server.run(conversion.plan_file, die_at=[["replace"], 2], body=body)[0] == -signal.SIGKILL
    names = [path.name for path in conversion.expected]
    assert [name for name in names if (conversion.folder / name).exists()] == ["shard-2"]
    result = execute(plan, resume=True)
    assert result.kept > 0
    assert [failure.path.name for failure in result.failures] == ["shard-1"]
    assert sorted(os.listdir(conversion.folder)) == sorted(names[1:])


def test_more_threads_or_tiles_make_no_difference_when_resuming(make, server, small_tiles):
    conversion = make()
    assert kill_after(server, conversion.plan_file, 0.2, delay=0.02)[0] == -signal.SIGKILL
    result = execute(conversion.plan, resume=True, threads=3)  # tiles of another size
    assert 0 < result.kept < result.receipts
    conversion.check_done()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("keep", [False, True])
def test_signals(body, make, server, number, keep):
    """Ctrl-C and SIGTERM (the handler raises) clean up, or keep what --resume needs if that is wanted."""
    conversion = make()
    pid = server.start(conversion.plan_file, delay=0.02, options={"keep_partial": keep}, body=body)
    while not conversion.left():
        time.sleep(0.01)
    time.sleep(0.15)
    os.kill(pid, number)
    status, text = server.wait()
    assert (status, text) == (130 if number == signal.SIGINT else 143, "")
    assert conversion.check() == 0
    if not keep:
        assert conversion.nothing()
        assert not conversion.folder.exists(), "the folder was made by the conversion"
        return
    assert "config.json.ggufx-journal" in conversion.left()
    assert execute(conversion.plan, resume=True).kept > 0
    conversion.check_done()
