"""Shards as tasks of a Ray cluster: two nodes on this machine, of which one is lost in the middle. The bytes of one machine."""

import pickle
import shutil
import types
from pathlib import Path

import pytest
from ggufx.converters import batch
from ggufx.converters.errors import Failure, IncompleteError, InputError, ManyErrors, StorageError, UnsupportedError
from ggufx.converters.run import on_ray
from ggufx.converters.run.engines import choice
from ggufx.converters.run.engines import ray as ray_engine

import ggufx


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs, where the driver is, and two nodes of one CPU."""
    ray = pytest.importorskip("ray", reason="Ray (the extra `ray`) is not installed")
    from ray.cluster_utils import Cluster

    ray_engine.library()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20,
                                                            "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield cluster, nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.ray
def test_a_cluster_makes_the_bytes_of_one_machine(cluster, zoo, tmp_path: Path):
    """And its losses. Also where a node is lost in the middle, an error ends a run, and an interrupted one is resumed."""
    cluster, nodes = cluster
    source = zoo("llama-256")
    types = ["q4_k_m", "q8_0"]
    pattern = str(tmp_path / "ray-{outtype}.gguf")
    one = ggufx.hf_to_gguf(source, str(tmp_path / "one-{outtype}.gguf"), outtype=types, threads=1, report=tmp_path / "one.json")
    seen = []

    def interrupt(done: int, total: int, name: str) -> None:
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        ggufx.hf_to_gguf(source, pattern, outtype=types, engine="ray", threads=1, max_memory=1 << 26, progress=interrupt,
                         report=tmp_path / "ray.json")
    assert "--resume goes on" in stopped.value.__notes__[0]
    assert not list(tmp_path.glob("ray-*.gguf"))
    receipts = len(list(tmp_path.glob("*.ggufx-shard-*")))
    assert receipts >= 3
    lost = []

    def lose(done: int, total: int, name: str) -> None:
        seen.append(name)
        if not lost:
            lost.append(cluster.remove_node(nodes[1], allow_graceful=False))

    seen.clear()
    result = ggufx.hf_to_gguf(source, pattern, outtype=types, engine="ray", threads=1, max_memory=1 << 26, resume=True,
                              progress=lose, report=tmp_path / "ray.json")
    assert lost
    assert len(set(seen)) == len(seen) == 8  # each shard is told of once, whoever did it, and however often
    assert result.devices == ("ray (2 nodes)",)
    assert [t.to_json() for t in result.losses] == [t.to_json() for t in one.losses]
    assert len([t for t in one.losses if t.error]) > 20
    for name in ("one", "ray"):
        (tmp_path / f"{name}.json").unlink()
    assert 0 < result.bytes_kept < sum(f.size for f in result.files)
    for kind in types:
        assert (tmp_path / f"ray-{kind}.gguf").read_bytes() == (tmp_path / f"one-{kind}.gguf").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{a}-{t}.gguf" for a in ("one", "ray") for t in types)

    # On the node that is left: a source that changed is one error, as anywhere, and leaves nothing.
    plan = ggufx.quantize(tmp_path / "one-q8_0.gguf", tmp_path / "back.gguf", "f16", allow_requantize=True, dry_run=True)
    (tmp_path / "one-q8_0.gguf").touch()
    before = sorted(tmp_path.iterdir())
    run = on_ray.Sharded.refuse
    try:
        on_ray.Sharded.refuse = lambda *_: None
        with pytest.raises(InputError, match="the file changed since"):
            on_ray.execute_on_ray(plan, threads=1, max_memory=1 << 26)
    finally:
        on_ray.Sharded.refuse = run
    assert sorted(tmp_path.iterdir()) == before

    # Many models, each a task; one that is broken is named.
    (tmp_path / "broken").mkdir()
    outcomes = ggufx.batch([tmp_path / "broken", source], outtype="q8_0", outfile=tmp_path / "{name}.gguf", engine="ray",
                           threads=1, max_memory=1 << 26)
    assert sorted(o.state for o in outcomes) == ["failed", "made"]
    assert (tmp_path / f"{source.name}.gguf").read_bytes() == (tmp_path / "ray-q8_0.gguf").read_bytes()

    # Also where a node is lost on the way; what is there already is not made anew.
    models = [tmp_path / name / source.name for name in "abc"]
    for model in models:
        shutil.copytree(source, model)
    second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    options = batch.BatchOptions(outtype=("q8_0",), outfile=tmp_path / "{org}.gguf", engine="ray", threads=1,
                                 max_memory=1 << 26)
    states = []
    for outcome in batch.convert_each([str(model) for model in models], options):
        states.append(outcome.state)
        if len(states) == 1:
            cluster.remove_node(second, allow_graceful=False)
    assert states == ["made"] * 3
    for name in "abc":
        assert (tmp_path / f"{name}.gguf").read_bytes() == (tmp_path / "ray-q8_0.gguf").read_bytes()
    assert [o.state for o in batch.convert_each([str(model) for model in models], options)] == ["there"] * 3


def test_without_ray(monkeypatch: pytest.MonkeyPatch, zoo, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    for dry_run in (True, False):
        with pytest.raises(UnsupportedError, match="needs Ray") as caught:
            ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf", engine="ray", dry_run=dry_run)
        assert "ggufx[ray]" in caught.value.hint
    with pytest.raises(ggufx.GgufxError, match="'mpi' is not an engine"):
        choice.on_cluster("mpi")
    assert not list(tmp_path.iterdir())


class FakeRay:
    """What `RayTasks` asks of a cluster before it runs anything."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = nodes

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict]:
        return [{"Alive": True, "Resources": node} for node in self._nodes]


SMALL, LARGE = {"CPU": 4.0, "memory": 8e9}, {"CPU": 32.0, "memory": 64e9, "GPU": 2.0}


@pytest.mark.parametrize(("nodes", "threads", "memory", "device", "found"), [
    ((SMALL, LARGE), None, 1 << 30, "auto", (2, 4, 9, "cpu")),
    ((SMALL, LARGE), 2, 1 << 30, "cpu", (2, 2, 18, "cpu")),
    ((SMALL, LARGE), None, 1 << 30, "cuda", (1, 8, 2, "cuda")),  # as many as there are GPUs
    ((SMALL, LARGE), None, 16 << 30, "cpu", (1, 8, 4, "cpu")),
    ((SMALL,), None, 1 << 30, "cuda", "has no node with a GPU"),
    (({"memory": 8e9},), None, 1 << 30, "cpu", "has no node with a CPU"),
    ((SMALL,), None, 16 << 30, "cpu", "so much memory"),
    ((SMALL,), 8, 1 << 30, "cpu", "so many CPUs"),
])
def test_tasks_are_such_as_nodes_can_take(monkeypatch: pytest.MonkeyPatch, nodes, threads, memory, device, found):
    """Ray would wait without end for what no node has."""
    monkeypatch.setattr(ray_engine, "library", lambda: FakeRay(*nodes))
    tasks = ray_engine.RayTasks(threads, memory, device)
    if isinstance(found, str):
        with pytest.raises(ggufx.GgufxError, match=found):
            tasks.__enter__()
        return
    with tasks:
        assert (tasks.nodes, tasks.threads, tasks.at_once, tasks.device) == found


class SlowToDie(FakeRay):
    """A cluster whose first task fails, and whose others run until somebody has waited for their end."""

    class exceptions:  # as Ray has them
        RayTaskError = type("RayTaskError", (Exception,), {"cause": InputError("changed")})
        RayError = OSError

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.running: list[int] = []
        self.cancelled: list[int] = []

    def remote(self, function: object) -> types.SimpleNamespace:
        return types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=self.start))

    def start(self, *arguments: int) -> int:
        self.running.append(arguments[-1])
        return arguments[-1]

    def wait(self, tasks: list[int], num_returns: int, timeout: float | None = None) -> tuple[list[int], list[int]]:
        assert len(tasks) >= num_returns
        for task in tasks[:num_returns]:
            self.running.remove(task)
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task: int) -> None:
        raise self.exceptions.RayTaskError

    def cancel(self, task: int, force: bool) -> None:
        self.cancelled.append(task)


def test_an_error_comes_when_no_task_runs_any_more(monkeypatch: pytest.MonkeyPatch):
    """What is cancelled may just begin, and would make files that the caller has cleared away."""
    cluster = SlowToDie()
    monkeypatch.setattr(ray_engine, "library", lambda: cluster)
    with ray_engine.RayTasks(1, 1 << 20, "cpu") as tasks, pytest.raises(InputError, match="changed"):
        list(tasks.each(print, [(i,) for i in range(5)]))
    assert cluster.cancelled == [1, 2, 3, 4]
    assert not cluster.running


def test_a_gpu_by_number_is_refused():
    with pytest.raises(ggufx.GgufxError, match="cuda:1 of which machine"):
        ray_engine.RayTasks(1, 1, "cuda:1")


def test_another_version_is_refused():
    with pytest.raises(UnsupportedError, match="another version of ggufx"):
        ray_engine._told("0.0.1", len, "a")


def test_errors_reach_another_process():
    many = ManyErrors([InputError("a", file="f", hint="h"), StorageError("b", tensor="t")])
    some = IncompleteError([Failure(Path("f"), InputError("a"))], None)
    for error in (many, some, many.problems[0]):
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), back.to_json()) == (type(error), str(error), error.to_json())
    assert pickle.loads(pickle.dumps(batch.Outcome("m", "failed", (), (many,)))).errors[0].told() == many.told()
