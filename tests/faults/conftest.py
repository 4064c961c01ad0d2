"""A small conversion with every kind of output, what it must give, and ways to run it in a process that dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.ops import RopePermute, Split, Transpose
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, Region, TensorJob
from ggufx.converters.run.engines.threads import Threads

# Runs conversions in forked children, so that hundreds of them cost little. One JSON request per line: the plan's file
# and what should happen; answers with the child's process id, then with its wait status and what it said.
SERVER = """
import json, os, signal, sys, time
import numpy, pytest
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.errors import GgufxError
from ggufx.converters.run.execute import execute
from ggufx.converters.plan.plan import ConversionPlan

class Slow(Threads):
    def __init__(self, threads, seconds):
        super().__init__(threads)
        self.seconds = seconds
    def tile_bytes(self, max_memory, job=None):
        return 1 << 14
    def spread(self, work, convert, max_memory):
        def slowly(*arguments):
            time.sleep(self.seconds)
            return convert(*arguments)
        return super().spread(work, slowly, max_memory)

def die_at(names, number):
    # The process is killed before its `number`-th call of one of these.
    count = 0
    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call
    for name in names:
        setattr(os, name, counted(getattr(os, name)))

def by_count():
    # The journal is written at every receipt, nothing is synced before the end: each run makes the same system calls.
    from ggufx.converters.run import hash_and_sync, journal
    journal.WRITE_INTERVAL, hash_and_sync.SYNC_INTERVAL = -1, 1e9

def terminate(*_):
    raise SystemExit(143)

def child(request, answer):
    if request.get("body") == "windows":
        from faults import stand_in
        stand_in.install(pytest.MonkeyPatch())
    if request.get("body") == "wine":
        from faults import wine
        wine.install(pytest.MonkeyPatch(), wine.Wine(answer))  # which is open until Wine has let go of all files, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    if request.get("file_limit"):
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    plan = ConversionPlan.from_json(json.load(open(request["plan"])))
    if request.get("die_at"):
        by_count()
        die_at(*request["die_at"])
    try:
        execute(plan, engine=Slow(request.get("threads", 2), request.get("delay", 0)), **request.get("options", {}))
    except GgufxError as error:
        os.write(answer, f"{error.code}: {error}".encode())
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        return error.code
    return 0

for line in sys.stdin:
    request = json.loads(line)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(request, write)
        finally:
            os._exit(code)
    os.close(write)
    print(pid, flush=True)
    sys.stdin.readline()  # until asked to, do not reap: the id must stay the child's own
    with open(read, "rb") as said:
        text = said.read().decode()
    print(json.dumps([os.waitpid(pid, 0)[1], text]), flush=True)
"""


class Server:
    """Conversions in processes of their own; one at a time."""

    def __init__(self) -> None:
        paths = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))}
        self._process = subprocess.Popen([sys.executable, "-c", SERVER], env=os.environ | paths,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)

    def start(self, plan: Path, **request: object) -> int:
        """Begin a conversion; its process id."""
        self._process.stdin.write(json.dumps({"plan": str(plan), **request}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> tuple[int, str]:
        """The exit status (negative: the signal that ended it), and the error's text."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        status, text = json.loads(self._process.stdout.readline())
        return os.waitstatus_to_exitcode(status), text

    def run(self, plan: Path, **request: object) -> tuple[int, str]:
        self.start(plan, **request)
        return self.wait()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def wine() -> Iterator[object]:
    """A process under Wine that serves the calls of Windows."""
    from faults.wine import VARIABLE, Wine

    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no program that serves the calls of Windows (scripts/wine)")
    process = Wine()
    yield process
    process.close()


@pytest.fixture
def in_wine(wine: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The Windows body on Wine; what a test leaves open is closed."""
    from faults.wine import install

    with monkeypatch.context() as patch:
        rules = install(patch, wine)
        start = Server.start

        def start_when_closed(server: Server, *arguments: object, **request: object) -> int:
            rules.forget_closed()
            return start(server, *arguments, **request)

        patch.setattr(Server, "start", start_when_closed)
        yield rules
    rules.close_all()


@pytest.fixture(params=["posix", "windows", "wine"])
def body(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test that asks for it runs on both bodies of `system`; that of Windows on the rules of stand_in.py, and in Wine.

    Folders for tests are made before, by this machine's rules.
    """
    if request.param == "windows":
        from faults import stand_in

        stand_in.install(monkeypatch)
    if request.param == "wine":
        request.getfixturevalue("in_wine")
    return request.param


class SmallTiles(Threads):
    """Many tiles, however small the tensors."""

    def tile_bytes(self, max_memory: int, job=None) -> int:
        return 1 << 14


@dataclass
class Conversion:
    """A plan, its file, and what each output must hold, in the order in which the outputs appear."""

    plan: ConversionPlan
    plan_file: Path
    expected: dict[Path, bytes]

    @property
    def folder(self) -> Path:
        return self.plan.outputs[0].path.parent

    def left(self) -> list[str]:
        """Everything in the output's folder that is not an output."""
        if not self.folder.exists():
            return []
        return sorted(p.name for p in self.folder.iterdir() if p not in self.expected)

    def nothing(self) -> bool:
        """No output, no leftover."""
        return not self.folder.exists() or not list(self.folder.iterdir())

    def check(self) -> int:
        """Each output is absent or complete, and none is there before those ahead of it; how many there are."""
        there = [path.exists() for path in self.expected]
        assert there == sorted(there, reverse=True), f"a torn set: {there}"
        for path, data in self.expected.items():
            if path.exists():
                assert path.read_bytes() == data, path.name
        return sum(there)

    def check_done(self) -> None:
        assert self.check() == len(self.expected)
        assert self.left() == []


Make = Callable[..., Conversion]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(seed) builds a conversion in `tmp_path`; the same seed gives the same one. `to` is the output's folder."""

    def build(seed: int = 0, to: str = "out") -> Conversion:
        rng = np.random.default_rng(seed)
        floats = rng.standard_normal((96, 256)).astype(np.float32)
        bits = rng.integers(0, 0x7F00, (128, 256)).astype(np.uint16)
        square = rng.standard_normal((64, 128)).astype(np.float32)
        sources = [floats.tobytes() + bits.tobytes(), b"head" * 16 + square.tobytes()]
        inputs = []
        for i, data in enumerate(sources):
            path = tmp_path / f"source-{seed}-{i}.bin"
            if not path.exists():
                path.write_bytes(data)
            inputs.append(InputFile.of(path))
        permuted = bits.reshape(4, 2, 16, 256).swapaxes(1, 2).reshape(128, 256)

        shard_heads = [b"first shard" + bytes(5), b"second shard" + bytes(20)]
        first = [(floats.astype(np.float16), "F16"), (bits[:64], "BF16"), (bits[64:], "BF16")]
        second = [(np.ascontiguousarray(square.T), "F32"), (permuted, "BF16"), (floats, "F32")]
        contents, regions = [], []
        for i, (head, arrays) in enumerate(zip(shard_heads, (first, second), strict=True)):
            content, places = bytearray(head), []
            for array, kind in arrays:
                content += bytes(-len(content) % 32)
                places.append(Region(i, len(content), kind, array.shape))
                content += array.tobytes()
            contents.append(bytes(content + bytes(7)))
            regions.append(places)
        # A piece that the plan itself holds, between the last tensor and the end.
        contents[1] = contents[1] + b"piece"
        pieces = ((len(contents[1]) - 5, b"piece"),)

        f32, bf16 = Region(0, 0, "F32", (96, 256)), Region(0, floats.nbytes, "BF16", (128, 256))
        jobs = (
            TensorJob("half", (f32,), (), (regions[0][0],)),
            TensorJob("split", (bf16,), (Split((1, 1)),), (regions[0][1], regions[0][2])),
            TensorJob("turned", (Region(1, 64, "F32", (64, 128)),), (Transpose(),), (regions[1][0],)),
            TensorJob("permuted", (bf16,), (RopePermute(32),), (regions[1][1],)),
            TensorJob("copied", (f32,), (), (regions[1][2],)),
        )
        folder = tmp_path / to
        texts = {"index.json": b'{"weight_map": {}}', "config.json": b'{"seed": %d}' % seed}
        names = ["shard-1", "shard-2", *texts]
        outputs = [OutputFile(folder / names[0], len(contents[0]), shard_heads[0]),
                   OutputFile(folder / names[1], len(contents[1]), shard_heads[1], pieces)]
        outputs += [OutputFile(folder / name, len(text), text) for name, text in texts.items()]
        plan = ConversionPlan("test", tuple(inputs), tuple(outputs), jobs, (), folder=folder)
        plan_file = tmp_path / f"plan-{seed}-{folder.name}.json"
        plan_file.write_text(json.dumps(plan.to_json()))
        data = [*contents, *texts.values()]
        return Conversion(plan, plan_file, {folder / name: d for name, d in zip(names, data, strict=True)})

    return build


@contextmanager
def nth_call(number: int, act: Callable[[str], None], *names: str) -> Iterator[list[str]]:
    """Call `act` (with the function's name) before the `number`-th call of one of these functions of `os`.

    Gives the list of all calls.
    """
    calls: list[str] = []

    def counted(name: str, function: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == number:
                act(name)
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield calls


@pytest.fixture
def inject() -> Callable:
    return nth_call


@pytest.fixture
def small_tiles() -> Callable[[int], Threads]:
    return SmallTiles
