"""Journals and parts that lie: refused or redone, never believed."""

from __future__ import annotations

import fcntl
import json
import random
import zlib

import pytest
from ggufx.converters.errors import UsageError
from ggufx.converters.run.execute import execute
from ggufx.converters.run.journal import read_journal


@pytest.fixture
def interrupted(make, inject, small_tiles):
    """A conversion that stopped at about two thirds of its way."""

    def build(seed: int = 0, to: str = "out"):
        conversion = make(seed, to)

        def stop(_):
            raise KeyboardInterrupt

        with inject(40, stop, "pwrite"), pytest.raises(KeyboardInterrupt):  # in the second shard
            execute(conversion.plan, engine=small_tiles(1), keep_partial=True)
        assert len(read_journal(conversion.folder / "config.json.ggufx-journal").receipts) > 5
        return conversion

    return build


def line(record) -> bytes:
    text = json.dumps(record).encode() + b"\n"
    return b"%08x %b" % (zlib.crc32(text), text)


def test_every_bit_of_luck(interrupted):
    """Damage at random places in the journal: what remains is used, the result is the same."""
    rng = random.Random(2)
    for trial in range(12):
        conversion = interrupted(to=f"trial-{trial}")
        journal = conversion.folder / "config.json.ggufx-journal"
        data = bytearray(journal.read_bytes())
        for _ in range(rng.choice((1, 3))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        journal.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        execute(conversion.plan, resume=True)
        conversion.check_done()


def test_every_byte_of_the_part(interrupted):
    """Damage at random places in the parts, the gaps included."""
    rng = random.Random(3)
    for trial in range(12):
        conversion = interrupted(to=f"trial-{trial}")
        for name in ("shard-1.part", "shard-2.part"):
            part = conversion.folder / name
            data = bytearray(part.read_bytes())
            for _ in range(8):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            part.write_bytes(data)
        execute(conversion.plan, resume=True)
        conversion.check_done()


def test_bytes_between_the_tensors(interrupted):
    """No receipt speaks for padding; it is zero again all the same."""
    conversion = interrupted()
    for name, at in (("shard-1", 20), ("shard-1", -3), ("shard-2", -8)):
        part = conversion.folder / f"{name}.part"
        left = bytearray(part.read_bytes())
        assert left[at] == conversion.expected[conversion.folder / name][at] == 0
        left[at] = 1
        part.write_bytes(left)
    execute(conversion.plan, resume=True)
    conversion.check_done()


@pytest.mark.parametrize("missing", ["shard-1.part", "config.json.part", "config.json.ggufx-journal"])
def test_a_part_that_is_gone(interrupted, missing):
    conversion = interrupted()
    (conversion.folder / missing).unlink()
    result = execute(conversion.plan, resume=True)
    assert (result.kept > 0) is (missing == "config.json.part" or missing == "shard-1.part")
    conversion.check_done()


@pytest.mark.parametrize("size", [0, 1000, 10_000_000])
def test_a_part_of_another_size(interrupted, size):
    conversion = interrupted()
    with open(conversion.folder / "shard-1.part", "r+b") as file:
        file.truncate(size)
    execute(conversion.plan, resume=True)
    conversion.check_done()


def test_claims_that_are_not_true(interrupted):
    """Sound lines with impossible content: unknown jobs, other cuts, overlaps, checksums of nothing."""
    conversion = interrupted()
    journal = conversion.folder / "config.json.ggufx-journal"
    header, *rest = journal.read_bytes().splitlines(keepends=True)
    claims = [[99, 0, 1, 1, 0], [0, 0, 96, 96, 0], [0, 0, 7, 7, 1], [1, 0, 64, 64], [1, 0, 64, 64, 5],
              [0, 0, 96, 96], [2, 0, 1, 1, 12345]]
    journal.write_bytes(header + b"".join(map(line, claims)) + b"".join(rest))
    assert execute(conversion.plan, resume=True).kept > 0
    conversion.check_done()


@pytest.mark.parametrize("tail", [line([0, 5, 5, 96, 1]), line([0, -1, 5, 96, 1]), line({"job": 1}), line(["x", 0, 1, 1]),
                                  line(None), b"00000000 [1]\n", b"\xff" * 40, b"no newline", b"a" * 200_000],
                         ids=range(9))
def test_a_line_that_is_not_ours_ends_the_journal(interrupted, tail):
    conversion = interrupted()
    journal = conversion.folder / "config.json.ggufx-journal"
    sound = read_journal(journal)
    journal.write_bytes(journal.read_bytes() + tail + line([0, 0, 1, 1, 0]))
    assert read_journal(journal) == sound
    execute(conversion.plan, resume=True)
    conversion.check_done()


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", line({"journal": 2, "identity": "x"}), line([1]), line("x"),
                                     line({"journal": 1, "identity": "x"})], ids=range(7))
def test_no_journal_at_all(interrupted, content):
    """Without a readable first line nothing is kept."""
    conversion = interrupted()
    (conversion.folder / "config.json.ggufx-journal").write_bytes(content)
    assert execute(conversion.plan, resume=True).kept == 0
    conversion.check_done()


def test_another_plan(interrupted, make):
    """Refused, with everything left as it is; without --resume it is cleaned, and said."""
    conversion = interrupted()
    left = conversion.left()
    other = make(seed=1)
    with pytest.raises(UsageError, match="belongs to another conversion"):
        execute(other.plan, resume=True)
    assert conversion.left() == left
    result = execute(other.plan)
    assert sorted(p.name for p in result.leftovers) == left
    other.check_done()


def test_another_version(interrupted, monkeypatch):
    conversion = interrupted()
    monkeypatch.setattr("ggufx.converters.run.execute.__version__", "99")
    with pytest.raises(UsageError, match="belongs to another conversion"):
        execute(conversion.plan, resume=True)


@pytest.mark.parametrize("right", [0, 60_000, 114_720])
def test_published_file_that_is_not_ours(interrupted, right):
    """An output that stands there without its part may be published already; only its bytes, all of them, can say so."""
    conversion = interrupted()
    first = conversion.plan.outputs[0]
    (conversion.folder / "shard-1.part").unlink()
    data = conversion.expected[first.path][:right] + b"x" * (first.size - right)
    first.path.write_bytes(data)
    with pytest.raises(UsageError, match=r"shard-1: exists already"):
        execute(conversion.plan, resume=True)
    assert first.path.read_bytes() == data
    execute(conversion.plan, resume=True, force=True)
    conversion.check_done()


@pytest.mark.parametrize("at", [3, 20, 50_000, 110_000, -3], ids=["head", "gap", "tensor", "copy", "end"])
def test_published_file_that_was_damaged(make, server, at):
    """All receipts are there, the run died between two renames; then a byte of what was published changes."""
    conversion = make()
    assert server.run(conversion.plan_file, die_at=[["replace"], 2])[0] < 0
    first = conversion.plan.outputs[0].path
    data = bytearray(first.read_bytes())
    data[at] ^= 1
    first.write_bytes(data)
    with pytest.raises(UsageError, match=r"shard-1: exists already"):
        execute(conversion.plan, resume=True)
    assert first.read_bytes() == data
    execute(conversion.plan, resume=True, force=True)
    conversion.check_done()


def test_published_file_that_lost_its_receipts(make, server):
    """Nothing vouches for a byte without a receipt, right as it may be."""
    conversion = make()
    assert server.run(conversion.plan_file, die_at=[["replace"], 2])[0] < 0
    journal = conversion.folder / "config.json.ggufx-journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(text for text in lines if b" [2, 0, " not in text))
    assert len(read_journal(journal).receipts) == len(lines) - 2
    with pytest.raises(UsageError, match=r"shard-1: exists already"):
        execute(conversion.plan, resume=True)
    execute(conversion.plan, resume=True, force=True)
    conversion.check_done()


def test_leftovers_of_a_dead_run_are_cleaned(interrupted):
    conversion = interrupted()
    stranger = conversion.folder / "notes.part"
    stranger.write_bytes(b"not ours")
    left = set(conversion.left()) - {"notes.part"}
    result = execute(conversion.plan)
    assert {p.name for p in result.leftovers} == left
    assert result.kept == 0
    assert conversion.left() == ["notes.part"]
    stranger.unlink()
    conversion.check_done()


def test_leftovers_of_another_layout_are_cleaned(interrupted):
    """A dead run that spread the tensors over other shards: its parts are known from its journal."""
    conversion = interrupted()
    journal = conversion.folder / "config.json.ggufx-journal"
    header = {"journal": 1, "identity": "x",
              "outputs": ["shard-1-of-9", "shard-1", "../outside", "..", "", "a\0b", 5, "in-use", "absent", "config.json"]}
    journal.write_bytes(line(header))
    (conversion.folder / "shard-1-of-9.part").write_bytes(b"other layout")
    (conversion.folder.parent / "outside.part").write_bytes(b"precious")
    with open(conversion.folder / "in-use.part", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = execute(conversion.plan)
    assert "shard-1-of-9.part" in {p.name for p in result.leftovers}
    assert (conversion.folder.parent / "outside.part").read_bytes() == b"precious"
    assert conversion.left() == ["in-use.part"]
