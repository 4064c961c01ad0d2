"""Two processes and one output: the second says so and touches nothing."""

from __future__ import annotations

import os
import time

import pytest
from ggufx.converters.errors import UsageError
from ggufx.converters.run.execute import execute


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}])
def test_second_is_refused(body, make, server, options):
    conversion = make()
    server.start(conversion.plan_file, delay=0.02, body=body)
    while "config.json.ggufx-journal" not in conversion.left():
        time.sleep(0.01)
    with pytest.raises(UsageError, match="another process is writing this file"):
        execute(conversion.plan, **options)
    assert server.wait() == (0, "")
    conversion.check_done()


def test_other_plan_with_one_output_in_common(body, make, server):
    """The lock is on each output, not only on the first."""
    conversion = make()
    other = make(seed=1)
    plan = other.plan
    object.__setattr__(plan.outputs[0], "path", plan.outputs[0].path.with_name("own-shard"))
    server.start(conversion.plan_file, delay=0.02, body=body)
    while "config.json.ggufx-journal" not in conversion.left():
        time.sleep(0.01)
    with pytest.raises(UsageError, match="another process is writing this file"):
        execute(plan)
    assert not [name for name in conversion.left() if name.startswith("own-shard")]
    assert server.wait() == (0, "")
    conversion.check_done()


def test_output_that_appears_meanwhile(body, make, small_tiles):
    """Somebody else writes the final name: it is not replaced without --force."""
    conversion = make()
    target = conversion.plan.outputs[-1].path

    def progress(done, total, name):
        target.write_bytes(b"another's")

    with pytest.raises(UsageError, match=r"config.json: exists already"):
        execute(conversion.plan, progress=progress, engine=small_tiles(2))
    assert target.read_bytes() == b"another's"
    assert [p.name for p in conversion.folder.iterdir()] == ["config.json"]


def test_part_is_never_written_through_a_link(body, make, tmp_path):
    """A `.part` name that leads elsewhere is replaced, not followed."""
    conversion = make()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    conversion.folder.mkdir()
    hard = conversion.folder / "shard-1.part"
    os.link(victim, hard)
    execute(conversion.plan, resume=True)
    conversion.check_done()
    (conversion.folder / "shard-2.part").symlink_to(victim)
    with pytest.raises(Exception, match=r"shard-2"):
        execute(conversion.plan, force=True)
    assert victim.read_bytes() == b"precious"


def test_part_that_is_no_file(body, make):
    conversion = make()
    conversion.folder.mkdir()
    os.mkfifo(conversion.folder / "shard-1.part")
    with pytest.raises(UsageError, match=r"shard-1.part: is in the way"):
        execute(conversion.plan)
    assert os.listdir(conversion.folder) == ["shard-1.part"]
