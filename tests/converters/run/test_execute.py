"""Executing plans: the right bytes, on any number of threads, within the memory that is allowed."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from ggufx.converters.errors import InputError, ManyErrors, UnsupportedError, UsageError
from ggufx.converters.ops import Add, Crop, Split, Transpose
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, Region, TensorJob
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from ggufx.quant import quantize


class Small(Threads):
    """Tiles of a few rows."""

    def tile_bytes(self, max_memory, job=None):
        return 4096


def plan_of(tmp_path, source: bytes, jobs, size: int, name: str = "out", **output) -> ConversionPlan:
    path = tmp_path / "in"
    if not path.exists():
        path.write_bytes(source)
    return ConversionPlan("test", (InputFile.of(path),), (OutputFile(tmp_path / name, size, **output),), tuple(jobs), ())


@pytest.fixture
def floats():
    return np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)


@pytest.mark.parametrize("hash_at_once", [600, 1 << 30])
def test_conversions(tmp_path, floats, monkeypatch, hash_at_once):
    """Copy, type change, arithmetic, several sources, several outputs: each against numpy.

    The checksum is right whether it is computed behind the writers or at the end.
    """
    monkeypatch.setattr("ggufx.converters.run.hash_and_sync.HASH_AT_ONCE", hash_at_once)
    bits = (floats.view(np.uint32) >> 16).astype(np.uint16)
    source = floats.tobytes() + bits.tobytes()
    whole, narrow = Region(0, 0, "F32", (64, 96)), Region(0, floats.nbytes, "BF16", (64, 96))
    halves = [replace(whole, shape=(32, 96)), replace(whole, offset=floats.nbytes // 2, shape=(32, 96))]
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    cases = [
        ((whole,), (), "F32", [floats]),
        ((narrow,), (), "BF16", [bits]),
        ((whole,), (), "F16", [floats.astype(np.float16)]),
        ((narrow,), (), "F32", [widened]),
        ((narrow,), (Add(1.0),), "F32", [widened + np.float32(1)]),
        ((whole,), (Transpose(),), "F32", [np.ascontiguousarray(floats.T)]),
        ((whole,), (Split(2, groups=32),), "F32", [floats[0::2], floats[1::2]]),
        ((narrow,), (Split((1, 3)),), "F32", [widened[:16], widened[16:]]),
        (tuple(halves[::-1]), (Split((1, 1)).inverse,), "F16",
         [np.concatenate([floats[32:], floats[:32]]).astype(np.float16)]),
        ((whole,), (Crop(start=2, stop=60),), "F16", [floats[2:60].astype(np.float16)]),
        ((replace(whole, shape=(58, 96)),), (Crop(start=2, stop=60, rows=64).inverse,), "F32",
         [np.concatenate([np.zeros((2, 96), np.float32), floats[:58], np.zeros((4, 96), np.float32)])]),
        ((whole,), (), "Q8_0", [quantize(floats, "Q8_0")]),
    ]
    jobs, expected, at = [], bytearray(b"a header"), 8
    for i, (sources, ops, kind, arrays) in enumerate(cases):
        outputs = []
        for array in arrays:
            shape = (array.shape[0], 96) if kind == "Q8_0" else array.shape
            outputs.append(Region(0, at, kind, shape))
            expected += array.tobytes()
            at += outputs[-1].nbytes
        jobs.append(TensorJob(f"case {i}", sources, ops, tuple(outputs)))
    assert at == len(expected)
    plan = plan_of(tmp_path, source, jobs, at, head=b"a header")
    for engine in (None, Small(1), Small(3)):
        result = execute(plan, engine=engine, force=True)
        assert plan.outputs[0].path.read_bytes() == bytes(expected)
        assert result.files[0].sha256 == hashlib.sha256(expected).hexdigest()
        assert result.files[0].size == result.bytes_written + 6 * 96 * 4 == at  # cropped rows stay zero, unwritten
    assert result.receipts > len(jobs)


def test_texts_and_pieces(tmp_path):
    """Outputs without jobs, empty ones, and bytes that the plan holds."""
    folder = tmp_path / "a"
    plan = ConversionPlan("test", (), (
        OutputFile(folder / "config.json", 2, b"{}"), OutputFile(folder / "empty", 0),
        OutputFile(folder / "table", 12, b"ab", ((4, b"cd"), (10, b"ef")))), (), (), folder=folder)
    result = execute(plan)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert (folder / "empty").read_bytes() == b""
    assert (folder / "table").read_bytes() == b"ab\0\0cd\0\0\0\0ef"
    assert [f.path.name for f in result.files] == ["config.json", "empty", "table"]
    assert all(f.sha256 == hashlib.sha256(f.path.read_bytes()).hexdigest() for f in result.files)
    assert sorted(os.listdir(folder)) == ["config.json", "empty", "table"]


def test_without_checksums(tmp_path):
    plan = ConversionPlan("test", (), (OutputFile(tmp_path / "x", 2, b"{}"),), (), ())
    assert execute(plan, checksums=False).files[0].sha256 is None


def test_existing_output(tmp_path):
    """Refused before any work, all of them in one message; --force replaces; a folder is never replaced."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    outputs = tuple(OutputFile(tmp_path / name, 3, b"new") for name in "abc")
    with pytest.raises(ManyErrors) as caught:
        execute(ConversionPlan("test", (), outputs, (), ()))
    assert [type(p) for p in caught.value.problems] == [UsageError] * 3
    assert "--force" in str(caught.value)
    with pytest.raises(UsageError, match="is a folder"):
        execute(ConversionPlan("test", (), outputs, (), ()), force=True)
    execute(ConversionPlan("test", (), outputs[:2], (), ()), force=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "b").is_symlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        execute(ConversionPlan("test", (), (OutputFile(tmp_path / "x", 2, b"{}"),), (), ()))
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~mask


def test_progress(tmp_path, floats, monkeypatch):
    """Rises to the total, names tensors, and comes at most about 20 times a second."""
    job = TensorJob("the tensor", (Region(0, 0, "F32", (64, 96)),), (), (Region(0, 8, "F16", (64, 96)),))
    plan = plan_of(tmp_path, floats.tobytes(), [job], 8 + floats.nbytes // 2, head=b"a header")
    clock = iter(np.arange(0, 100, 0.01))
    monkeypatch.setattr("ggufx.converters.run.execute.time.monotonic", lambda: float(next(clock)))
    calls = []
    result = execute(plan, engine=Small(1), progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert {call[1] for call in calls} == {plan.output_bytes}
    assert calls[-1] == (plan.output_bytes, plan.output_bytes, "")
    assert {call[2] for call in calls[:-1]} == {"the tensor"}
    assert 3 < len(calls) < result.receipts, "the clock moves by less than 0.05 s per tile"


def test_values_that_the_target_cannot_hold(tmp_path):
    """The error of a thread arrives as it is, with the tensor's name and the place in the whole tensor."""
    data = np.zeros((400, 32), np.float32)
    data[333, 21] = 1e6
    job = TensorJob("blk.0.big", (Region(0, 0, "F32", (400, 32)),), (), (Region(0, 0, "F16", (400, 32)),))
    with pytest.raises(InputError, match=r"blk.0.big.*1000000.*row 333, column 21"):
        execute(plan_of(tmp_path, data.tobytes(), [job], 25600), engine=Small(2))
    assert os.listdir(tmp_path) == ["in"]


def test_type_without_a_kernel(tmp_path):
    job = TensorJob("blk.0.odd", (Region(0, 0, "F32", (4, 256)),), (), (Region(0, 0, "Q8_K", (4, 256)),))
    with pytest.raises(UnsupportedError, match=r"blk.0.odd.*Q8_K"):
        execute(plan_of(tmp_path, bytes(4096), [job], 4 * 292))


class Counting(Small):
    """Notes how many bytes are in flight at once."""

    def spread(self, work, convert, max_memory):
        self.now = self.most = 0
        self.alone = []
        lock = threading.Lock()

        @contextmanager
        def flying(item):
            with lock:
                self.now += item.memory
                self.most = max(self.most, self.now)
                self.alone.append((item.memory, self.now, item))
            yield
            with lock:
                self.now -= item.memory

        def counted(item, device):
            with flying(item):
                return convert(item, device)

        return super().spread(work, counted, max_memory)


def test_first_error_stops_the_rest():
    """No further work begins, and nothing runs any more when the caller has the error."""
    running, begun = set(), []

    def convert(item, device):
        begun.append(item)
        running.add(item)
        try:
            if item == 3:
                raise KeyError(item)
            time.sleep(0.01)
        finally:
            running.discard(item)

    class Item(int):
        memory = 10

    with pytest.raises(KeyError):
        list(Threads(2).spread((Item(i) for i in range(1000)), convert, 1000))
    assert not running
    assert len(begun) < 20


def test_threads_of_a_large_tile():
    """A tile that takes the memory of others takes their threads as well."""
    seen = {}

    class Item(int):
        @property
        def memory(self):
            return int(self)

    def convert(item, device):
        seen[int(item)] = device.threads

    list(Threads(8).spread(map(Item, (1, 100, 500, 1000, 5000)), convert, 1000))
    assert seen == {1: 1, 100: 1, 500: 4, 1000: 8, 5000: 8}


@pytest.mark.parametrize("threads", [1, 4])
def test_memory_in_flight(tmp_path, floats, threads):
    """Tiles share the budget; a tensor that cannot be cut and exceeds it is converted alone."""
    job = TensorJob("cut", (Region(0, 0, "F32", (64, 96)),), (), (Region(0, 0, "F16", (64, 96)),))
    turned = TensorJob("not cut", (Region(0, 0, "F32", (64, 96)),), (Transpose(),),
                       (Region(0, floats.nbytes // 2, "F16", (96, 64)),))
    plan = plan_of(tmp_path, floats.tobytes(), [job, turned], floats.nbytes)
    engine = Counting(threads)
    execute(plan, engine=engine, max_memory=9000)
    whole = [(now, item) for memory, now, item in engine.alone if memory > 9000]
    assert [(now, item.job.name) for now, item in whole] == [(whole[0][1].memory, "not cut")]
    assert max(now for memory, now, _ in engine.alone if memory <= 9000) <= 9000
    assert engine.now == 0


def test_order_of_writing(tmp_path, floats):
    """Jobs start in the order of what they make, so that it can be hashed as it grows."""
    rows = [Region(0, i * 384, "F32", (1, 96)) for i in range(64)]
    order = np.random.default_rng(1).permutation(64)
    jobs = [TensorJob(f"{k}", (rows[order[k]],), (), (rows[k],)) for k in np.random.default_rng(2).permutation(64)]
    plan = plan_of(tmp_path, floats.tobytes(), jobs, floats.nbytes)
    engine = Counting(1)
    execute(plan, engine=engine)
    assert [item.job.name for _, _, item in engine.alone] == [str(i) for i in range(64)]
    assert (tmp_path / "out").read_bytes() == floats[order].tobytes()


def test_same_file_in_and_out(tmp_path, floats):
    """With --force a file may be replaced by what is made of it."""
    job = TensorJob("x", (Region(0, 0, "F32", (64, 96)),), (), (Region(0, 0, "F16", (64, 96)),))
    plan = plan_of(tmp_path, floats.tobytes(), [job], floats.nbytes // 2, name="in")
    execute(plan, force=True)
    assert (tmp_path / "in").read_bytes() == floats.astype(np.float16).tobytes()


def test_many_tensors_take_linear_time(tmp_path):
    """Work per tensor does not grow with their number: counted as calls, not as seconds."""
    def calls(n: int) -> int:
        jobs = [TensorJob(str(i), (Region(0, 16 * i, "F32", (4,)),), (), (Region(0, 16 * i, "F32", (4,)),))
                for i in range(n)]
        (tmp_path / "in").unlink(missing_ok=True)
        plan = plan_of(tmp_path, bytes(16 * n), jobs, 16 * n)
        count = 0

        def count_calls(frame, event, argument):
            nonlocal count
            count += event == "call"

        sys.setprofile(count_calls)
        try:
            execute(plan, threads=1, force=True)
        finally:
            sys.setprofile(None)
        return count

    assert calls(400) < 2.3 * calls(200)
