"""Load: many files, many tensors, enormous tensors. Work is counted in calls and bytes, never in seconds."""

import difflib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ggufx.converters.errors import ManyErrors
from ggufx.converters.run import execute
from zoo import large
from zoo.files import stored

import ggufx

IO = Path("/proc/self/io")


def calls(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, `work` calls."""
    count = 0

    def one_more(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(one_more)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def bytes_read(work: Callable[[], object]) -> int:
    """How many bytes this process reads from files meanwhile."""
    def read() -> int:
        return int(IO.read_text().split()[1])

    before = read()
    work()
    return read() - before


def test_a_checkpoint_in_two_hundred_files_there_and_back(tmp_path: Path):
    config, tensors = large.llama(133)  # 1200 tensors
    folder = large.write(tmp_path / "m", config, tensors, 200, "llama3")
    assert len(list(folder.glob("*.safetensors"))) == 200
    made = ggufx.hf_to_gguf(folder, tmp_path / "m.gguf")
    assert made.bytes_read == sum(2 * large.prod(shape) for _, shape in tensors.values())
    ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "back", max_shard_size=450)
    assert len(list((tmp_path / "back").glob("*.safetensors"))) > 200
    assert stored(tmp_path / "back") == stored(folder)


SIZES = {"blocks": lambda n: (*large.llama(64 * n), "llama3"), "experts": lambda n: (*large.qwen3moe(4, 48 * n), "qwen2")}


@pytest.mark.parametrize("shape", SIZES)
def test_twice_the_tensors_in_twice_the_files_are_twice_the_work(tmp_path: Path, shape: str):
    """Planning both ways, and describing the plan (digest)."""
    def work(n: int) -> dict[str, int]:
        config, tensors, kind = SIZES[shape](n)
        folder = large.write(tmp_path / str(n), config, tensors, 50 * n, kind)
        gguf, out = tmp_path / f"{n}.gguf", {}
        out["there"] = calls(lambda: ggufx.hf_to_gguf(folder, gguf, dry_run=True).digest())
        ggufx.hf_to_gguf(folder, gguf)
        out["back"] = calls(lambda: ggufx.gguf_to_hf(gguf, tmp_path / f"back{n}", max_shard_size=2000, dry_run=True).digest())
        return out

    work(1)  # imports and caches
    once, twice = work(2), work(4)
    assert {step: round(twice[step] / once[step], 1) for step in once if twice[step] > 2.2 * once[step]} == {}


def test_a_hundred_thousand_tensors_are_planned(tmp_path: Path):
    config, tensors = large.qwen3moe(64, 512)
    assert len(tensors) > 98_000
    plan = ggufx.hf_to_gguf(large.write(tmp_path / "m", config, tensors, 200, "qwen2"), tmp_path / "m.gguf", dry_run=True)
    assert len(plan.jobs) == len(tensors)
    assert len(plan.tensors) == 64 * 12 + 3


def test_twenty_thousand_tensors_there_and_back(tmp_path: Path):
    config, tensors = large.qwen3moe(16, 416)
    folder = large.write(tmp_path / "m", config, tensors, 20, "qwen2")
    ggufx.hf_to_gguf(folder, tmp_path / "m.gguf")
    ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "back")
    back = stored(tmp_path / "back")
    assert len(back) > 20_000
    assert back == stored(folder)


def test_names_that_nobody_knows_are_searched_for_a_bounded_number_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, tensors = large.llama(100)
    strange = {name.replace("self_attn", f"self_attn{i}"): entry for i, (name, entry) in enumerate(tensors.items())}
    searches = []
    search = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *args: searches.append(args) or search(*args))
    with pytest.raises(ManyErrors) as caught:
        ggufx.hf_to_gguf(large.write(tmp_path / "m", config, strange, 2, "llama3"), tmp_path / "m.gguf")
    assert len(caught.value.problems) == 800  # as many unknown as missing
    assert "The nearest is model.layers.{b}.self_attn.q_proj.{p}" in str(caught.value)
    assert len(searches) <= 200
    assert len(str(caught.value)) < 5000


ENORMOUS = {
    # Llama 3 70B with eight layers more, in float32
    "309 GB": (lambda: large.llama(88, width=8192, inner=28672, heads=64, kv_heads=8, rows=128256, kind="F32"), "llama3", 61),
    "1342 GB": (large.deepseek3, "deepseek3", 163),
}


@pytest.fixture(scope="module", params=ENORMOUS)
def enormous(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of hundreds of gigabytes that takes some megabytes on the disk."""
    make, kind, shards = ENORMOUS[request.param]
    config, tensors = make()
    try:
        folder = large.write(tmp_path_factory.mktemp("enormous") / "m", config, tensors, shards, kind, sparse=True)
    except OSError as error:
        pytest.skip(f"no sparse files here: {error}")
    files = [path.stat() for path in folder.glob("*.safetensors")]
    assert f"{sum(f.st_size for f in files) // 10**9} GB" == request.param
    if sum(f.st_blocks for f in files) * 512 > 100 << 20:
        pytest.skip("no sparse files here")
    return folder


@pytest.mark.skipif(not IO.exists(), reason="no /proc/self/io")
def test_enormous_checkpoints_are_planned_from_their_headers(enormous: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(execute, "no_room", lambda *_: [])  # as if the disk were as enormous
    plans = {}

    def plan(outtype: str) -> None:
        plans[outtype] = ggufx.hf_to_gguf(enormous, tmp_path / "m.gguf", outtype=outtype, dry_run=True)

    plan("f16")  # imports and caches
    headers = sum(int.from_bytes(path.open("rb").read(8), "little") for path in enormous.glob("*.safetensors"))
    aside = sum(path.stat().st_size for path in enormous.iterdir() if path.suffix != ".safetensors")
    assert bytes_read(lambda: plan("q4_k_m")) < headers + 5 * aside + (1 << 20)
    assert plans["f16"].output_bytes > 150 * 10**9
    assert plans["q4_k_m"].output_bytes < 0.32 * plans["f16"].output_bytes
    assert not list(tmp_path.iterdir())


PEAK = """
import resource, sys
from ggufx.cli.main import app
from ggufx.converters.run import execute
execute.no_room = lambda *_: []  # as if the disk were as enormous
try:
    app(sys.argv[1:])
except SystemExit as end:
    print(end.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_dry_run_of_enormous_checkpoints_takes_little_memory(enormous: Path, tmp_path: Path):
    """Beyond a small model's: some kilobytes for each tensor, nothing for their sizes."""
    config, tensors = large.llama(1)
    small = large.write(tmp_path / "small", config, tensors, 1, "llama3")
    peaks = []
    for folder in (small, enormous):
        command = ["hf-to-gguf", folder, "--outfile", tmp_path / "m.gguf", "--outtype", "q4_k_m", "--dry-run", "--quiet"]
        done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
        status, peak = done.stdout.split()
        assert (status, done.stderr) == ("0", "")
        peaks.append(int(peak) << 10)
    count = sum(1 for _ in (enormous / "model.safetensors.index.json").open().read().split('":'))
    assert peaks[1] - peaks[0] < (16 << 20) + 4000 * count
