"""One plan in shards: the bytes of one machine, whatever the number of shards and their order; what is missing is named."""

from __future__ import annotations

import hashlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError, InputError, UsageError
from ggufx.converters.plan.document import plan_document, read_plan
from ggufx.converters.run import shares
from ggufx.converters.run.execute import execute
from ggufx.converters.run.open_files import OpenFiles
from ggufx.converters.run.shards import commit, run_shard
from ggufx.converters.run.shares import share_of
from zoo.adapters import make_adapter

import ggufx

SIZES = (1, 3, 7)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch):
    """So that tiny models have many; they are no multiple of any row."""
    monkeypatch.setattr(shares, "PAGE", 4096)


@pytest.fixture(scope="module")
def sources(zoo, tmp_path_factory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("sources")
    ggufx.hf_to_gguf(zoo("llama-256"), top / "m.gguf")
    make_adapter(zoo("llama-256"), top / "adapter", {"target_modules": ["q_proj", "up_proj"]})
    return {"model": zoo("llama-256"), "gguf": top / "m.gguf", "adapter": top / "adapter"}


def planned(verb: str, sources: dict[str, Path], out: Path):
    out.mkdir(exist_ok=True)
    match verb:
        case "hf-to-gguf":
            return ggufx.hf_to_gguf(sources["model"], out / "{outtype}.gguf", outtype=["q4_k_m", "q8_0"], dry_run=True)
        case "split":
            return ggufx.hf_to_gguf(sources["model"], out / "m.gguf", outtype="q6_k", split_max_tensors=5, dry_run=True)
        case "quantize":
            return ggufx.quantize(sources["gguf"], out / "m.gguf", "q4_k_m", dry_run=True)
        case "gguf-to-hf":
            return ggufx.gguf_to_hf(sources["gguf"], out / "back", max_shard_size=500_000, dry_run=True)
        case "merge-lora":
            return ggufx.merge_lora(sources["adapter"], out / "merged", base=sources["model"], dry_run=True)


VERBS = ("hf-to-gguf", "split", "quantize", "gguf-to-hf", "merge-lora")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("verb", VERBS)
def test_the_bytes_of_one_machine(sources, tmp_path: Path, verb: str, count: int):
    execute(planned(verb, sources, tmp_path / "one"))
    plan = planned(verb, sources, tmp_path / "many")
    written = 0
    for index in reversed(range(count)):
        written += run_shard(plan, index, count).bytes_written
    assert written == sum(r.nbytes for job in plan.jobs for r in job.outputs)
    files = commit(plan).files
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert [f.sha256 for f in files] == [hashlib.sha256(f.path.read_bytes()).hexdigest() for f in files]


@pytest.mark.parametrize("verb", VERBS)
def test_a_commit_reads_what_was_written_once(sources, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch):
    plan = planned(verb, sources, tmp_path)
    run_shard(plan, 0, 1)
    read, real = [], OpenFiles.written

    def written(self, file, offset, nbytes):
        read.append(nbytes)
        return real(self, file, offset, nbytes)

    monkeypatch.setattr(OpenFiles, "written", written)
    commit(plan)
    assert sum(read) == sum(r.nbytes for job in plan.jobs for r in job.outputs)


def test_losses_have_the_digits_of_one_machine(sources, tmp_path: Path, interrupted_rename):
    """Whatever the number of shards, and where one is run again, a commit is interrupted, or its report is not written."""
    whole = execute(planned("hf-to-gguf", sources, tmp_path / "one"), losses=True).losses
    assert {t.type for t in whole if t.error} >= {"Q4_K", "Q6_K", "Q8_0"}
    for count in (1, 4):
        plan = planned("hf-to-gguf", sources, tmp_path / str(count))
        for index in range(count):
            assert not run_shard(plan, index, count, losses=index > 0).kept
        with pytest.raises(UsageError, match=f"shard 0/{count} was run by a plan without --report"):
            commit(plan, losses=True)
        assert not run_shard(plan, 0, count, losses=True).kept
        assert run_shard(plan, 0, count, losses=True).kept
        assert run_shard(plan, 0, count).kept  # notes too many do no harm
        with interrupted_rename(1):
            commit(plan, losses=True)
        with pytest.raises(ZeroDivisionError):
            commit(plan, losses=True, told=lambda result: 1 / 0)
        torn = plan.outputs[-1].path.with_name(f"{plan.outputs[-1].path.name}.ggufx-shard-0-of-{count}.0123abcd.part")
        torn.touch()  # of a machine that was lost while it noted
        losses = commit(plan, losses=True).losses
        assert not torn.exists()
        assert [(t.file.name, t.to_json()) for t in losses] == [(t.file.name, t.to_json()) for t in whole]


def test_a_commit_that_was_interrupted(sources, tmp_path: Path, interrupted_rename):
    plan = planned("gguf-to-hf", sources, tmp_path)
    for index in range(2):
        run_shard(plan, index, 2)
    with interrupted_rename(2):
        commit(plan)
    files = commit(plan).files
    assert [f.sha256 for f in files] == [hashlib.sha256(f.path.read_bytes()).hexdigest() for f in files]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("count", [2, 5, 40])
def test_no_page_has_two_writers(sources, tmp_path: Path, verb: str, count: int):
    """And every byte of a tensor has one; all that a share writes lies in its spans."""
    from ggufx.converters.run.execute import Run

    plan = planned(verb, sources, tmp_path / "out")
    jobs = Run(plan, 1, 1 << 30, None).jobs
    parts = [share_of(jobs, len(plan.outputs), index, count) for index in range(count)]
    for file in range(len(plan.outputs)):
        owners: dict[int, int] = {}
        for index, part in enumerate(parts):
            for start, stop in part.spans[file]:
                for page in range(start // shares.PAGE, -(-stop // shares.PAGE)):
                    assert owners.setdefault(page, index) == index
    for number, job in enumerate(jobs):
        tiles = sorted((part.tiles[number] for part in parts if number in part.tiles), key=lambda t: t.start)
        assert tiles[0].start == 0
        assert tiles[-1].stop == tiles[0].count
        assert all(a.stop == b.start for a, b in itertools.pairwise(tiles))
        for region in job.outputs:
            done: list[tuple[int, int]] = []
            for part in parts:
                for tile in (*([part.tiles[number]] if number in part.tiles else []), *part.borders.get(number, ())):
                    its = tile.of(region)
                    done += [(max(a, its.offset), min(b, its.offset + its.nbytes)) for a, b in part.spans[region.file]
                             if a < its.offset + its.nbytes and b > its.offset]
            at = region.offset
            for start, stop in sorted(done):
                assert start <= at
                at = max(at, stop)
            assert at == region.offset + region.nbytes


def test_shares_cost_the_same(sources, tmp_path: Path):
    from ggufx.converters.run.execute import Run

    plan = planned("quantize", sources, tmp_path / "out")
    jobs = Run(plan, 1, 1 << 30, None).jobs
    costs = [sum(shares.cost(jobs[n]) * (t.stop - t.start) / t.count for n, t in tiles.items())
             for tiles in shares.cut(jobs, 3)]
    assert max(costs) < 1.1 * sum(costs) / 3


def test_again_at_once_and_missing(sources, tmp_path: Path):
    execute(planned("hf-to-gguf", sources, tmp_path / "one"))
    plan = planned("hf-to-gguf", sources, tmp_path / "many")
    with pytest.raises(UsageError, match="no shard of this plan has run"):
        commit(plan)
    for index in (0, 2):
        run_shard(plan, index, 4)
    with pytest.raises(UsageError, match=r"shards 1/4, 3/4 have not run to their ends"):
        commit(plan)
    with ThreadPoolExecutor(4) as pool:  # the same shard twice at once
        list(pool.map(lambda index: run_shard(plan, index, 4), (1, 1, 1)))
    with pytest.raises(UsageError, match=r"shard 3/4 has not run to its end"):
        commit(plan)
    assert run_shard(plan, 1, 4).kept
    run_shard(plan, 3, 4)
    part = tmp_path / "many" / "q8_0.gguf.part"
    (tmp_path / "many" / "q8_0.gguf.part").write_bytes(part.read_bytes()[:-40_000] + bytes(40_000))  # lost after the receipts
    with pytest.raises(UsageError, match=r"shard 3/4 left other bytes than it noted"):
        commit(plan)
    assert not list((tmp_path / "many").glob("*.gguf"))
    assert not run_shard(plan, 3, 4).kept
    commit(plan)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    with pytest.raises(UsageError, match="is committed already"):
        commit(plan)


def test_what_lies_there_of_others(sources, tmp_path: Path):
    """Rests of another plan are written over; a run that works on the output alone is not disturbed."""
    execute(planned("quantize", sources, tmp_path / "one"))
    plan = planned("quantize", sources, tmp_path / "many")
    size = plan.outputs[0].size
    (tmp_path / "many" / "m.gguf.part").write_bytes(b"\xff" * (size + 100))
    for index in range(3):
        run_shard(plan, index, 3)
    commit(plan)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_a_value_without_a_place_ends_the_shard(sources, tmp_path: Path):
    import numpy as np
    from ggufx.converters.io.gguf import read_gguf

    bad = tmp_path / "bad.gguf"
    bad.write_bytes(sources["gguf"].read_bytes())
    tensor = read_gguf(bad).tensors["blk.0.ffn_down.weight"]
    with bad.open("r+b") as file:
        file.seek(tensor.offset)
        file.write(np.full(4, 0x7FC0, "<u2").tobytes())  # NaN
    plan = planned("quantize", {**sources, "gguf": bad}, tmp_path / "out")
    failed = []
    for index in range(3):
        try:
            run_shard(plan, index, 3)
        except GgufxError as error:
            failed.append((index, error.tensor))
    assert {name for _, name in failed} == {"blk.0.ffn_down.weight"}
    with pytest.raises(UsageError, match=f"{failed[0][0]}/3"):
        commit(plan)


def test_a_plan_is_a_file(sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    plan = planned("hf-to-gguf", sources, Path("out"))
    document = plan_document(plan, "1")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    read = read_plan(path, "1")
    assert all(o.path.is_absolute() for o in read.outputs)
    assert read.digest() == document["digest"]
    for text, words in (
            (json.dumps({**document, "digest": "0"}), "was changed"), ("{}", "is no plan"), ("[", "JSON"),
            (json.dumps({**document, "plan": {**document["plan"], "jobs": [{}]}}), "damaged plan"),
            (json.dumps({**document, "plan": {**document["plan"], "outputs": 3}}), "damaged plan"),
            (json.dumps({**document, "plan": 5}), "damaged plan")):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_plan(path, "1")
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="another version"):
        read_plan(path, "2")


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0), (0, 1 << 20)])
def test_no_shards(sources, tmp_path: Path, index: int, count: int):
    with pytest.raises(UsageError, match="is no shard"):
        run_shard(planned("quantize", sources, tmp_path / "out"), index, count)
    assert not list((tmp_path / "out").iterdir())
