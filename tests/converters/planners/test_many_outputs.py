"""Many outputs, one pass: each file is what it is alone, everything is read once, and what fails fails alone."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, IncompleteError, InputError, ManyErrors, StorageError, UsageError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.ops import Add, Crop, RopePermute, Split, Transpose
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, Region, TensorJob
from ggufx.converters.plan.tiles import Tile, by_address, memory
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.many_outputs import merged, plan_outputs
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.run import device
from ggufx.converters.run.convert_tile import NO_CHECKSUM, run_tile
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from ggufx.converters.run.journal import read_journal
from zoo.quantized import importance, write_legacy

import ggufx


class SmallTiles(Threads):
    """Many tiles, however small the tensors."""

    def tile_bytes(self, max_memory: int, job=None) -> int:
        return 1 << 14


def both_ways(planner, folder: Path, outtypes: list[str]) -> tuple[int, int]:
    """Make the files in one pass and one by one, compare them; the bytes read in one pass, and the most for one file.

    `planner(outfile)` gives a planner.
    """
    plan, refused = plan_outputs(planner(folder / "many-{outtype}.gguf"), outtypes)
    assert not refused
    result = execute(plan, engine=SmallTiles(2))
    assert [f.path for f in result.files] == [folder / f"many-{t}.gguf" for t in outtypes]
    most = 0
    for outtype, file in zip(outtypes, result.files, strict=True):
        alone, _ = plan_outputs(planner(folder / f"alone-{outtype}.gguf"), outtype)
        assert alone.outputs[0].head == plan.outputs[outtypes.index(outtype)].head
        done = execute(alone)
        assert file.path.read_bytes() == done.files[0].path.read_bytes(), outtype
        assert file.sha256 == done.files[0].sha256
        most = max(most, done.bytes_read)
    return result.bytes_read, most


MODELS = [
    ("llama-256", ["f16", "bf16", "q8_0", "q4_k_m", "q5_k_m", "q6_k", "q4_0", "iq4_xs"]),
    ("llama", ["q4_k_m", "q8_0", "f32"]),  # rows that do not fit: other types than asked for
    ("qwen3moe", ["q4_0", "q8_0", "f16"]),
    ("qwen3moe-fused", ["q4_0", "q8_0", "f16"]),
    ("gptoss-mxfp4", ["bf16", "q8_0", "mxfp4_moe"]),
    ("gptoss", ["bf16", "q8_0", "q5_1"]),
    ("qwen35moe", ["q8_0", "q4_1", "bf16"]),
    ("gemma2", ["q8_0", "q4_0", "f32"]),
    ("gpt2", ["f16", "q5_0", "q8_0"]),
    ("roberta", ["f32", "f16", "q8_0"]),
    ("deepseek3", ["bf16", "q8_0"]),
]


@pytest.mark.parametrize(("model", "outtypes"), MODELS, ids=[m for m, _ in MODELS])
def test_each_file_is_what_it_is_alone(zoo, tmp_path: Path, model: str, outtypes: list[str]):
    many, most = both_ways(lambda out: GgufPlanner(zoo(model), out, GgufOptions()), tmp_path, outtypes)
    assert many == most


@pytest.mark.parametrize("model", ["llama-256", "qwen3moe", "qwen3moe-fused"])
def test_with_importance_weights(zoo, tmp_path: Path, model: str):
    """Also beside types that take no weights, whose experts a plan alone would not have to take apart."""
    ggufx.hf_to_gguf(zoo(model), tmp_path / "plain.gguf", plain=True)
    matrix = tmp_path / "matrix.dat"
    write_legacy(matrix, importance(tmp_path / "plain.gguf"))
    asked = Quantization(imatrix_file=matrix)
    outtypes = ["f16", "q8_0", "q4_k_m", "q4_0", "iq2_xxs"] if model == "llama-256" else ["f16", "q8_0", "q4_0", "iq4_nl"]
    options = GgufOptions(quantization=asked)
    many, most = both_ways(lambda out: GgufPlanner(zoo(model), out, options), tmp_path, outtypes)
    assert many == most
    (tmp_path / "again").mkdir()
    many, most = both_ways(lambda out: QuantizePlanner(tmp_path / "plain.gguf", out, asked), tmp_path / "again", outtypes)
    assert many == most


@pytest.mark.parametrize("source", ["bf16", "f16", "f32", "q8_0"])
def test_from_a_gguf_file(zoo, tmp_path: Path, source: str):
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "in.gguf", outtype=source, plain=True)
    asked = Quantization(allow_requantize=source == "q8_0")
    many, most = both_ways(lambda out: QuantizePlanner(tmp_path / "in.gguf", out, asked), tmp_path,
                           ["q4_k_m", "q5_k_s", "q8_0", "f16", "bf16"])
    assert many == most


def test_the_source_is_read_once(zoo, tmp_path: Path, monkeypatch):
    """Counted where the system is asked for bytes, decoding where the kernels are called."""
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "in.gguf", outtype="q8_0", plain=True)
    source = read_gguf(tmp_path / "in.gguf")
    asked = Quantization(allow_requantize=True)
    outtypes = ["q4_k_m", "q5_k_m", "q6_k", "q4_0", "q4_k_s"]
    plan, _ = plan_outputs(QuantizePlanner(source.path, tmp_path / "{outtype}.gguf", asked), outtypes)
    read, preadv, file_id = [0], os.preadv, os.stat(source.path).st_ino

    def counted(descriptor, buffers, offset):
        count = preadv(descriptor, buffers, offset)
        read[0] += count if os.fstat(descriptor).st_ino == file_id else 0
        return count

    decoded, encoded = [], []
    monkeypatch.setattr(os, "preadv", counted)
    dequantize, quantize = device.dequantize, device.quantize
    monkeypatch.setattr(device, "dequantize", lambda x, *a, **k: decoded.append(len(x)) or dequantize(x, *a, **k))
    monkeypatch.setattr(device, "quantize", lambda x, *a, **k: encoded.append((len(x), a[0])) or quantize(x, *a, **k))
    execute(plan, engine=SmallTiles(1), checksums=False)
    tensors = source.tensors.values()
    assert read[0] == sum(t.nbytes for t in tensors)
    matrices = [t for t in tensors if t.type == "Q8_0"]
    assert sum(decoded) == sum(t.shape[0] for t in matrices)
    wanted = {(t.name, t.type) for t in plan.tensors if len(t.shape) > 1}
    assert sum(rows for rows, _ in encoded) == sum(source.tensors[name].shape[0] for name, _ in wanted)
    assert len(wanted) < 4 * len(matrices), "q4_k_m and q4_k_s share most of their types"


def synthetic(tmp_path: Path, jobs: dict[str, tuple], outtypes: tuple[str, ...]) -> list[ConversionPlan]:
    """A plan per type over the same random float32 source. `jobs`: name -> (shapes, ops)."""
    sources: dict[str, list[Region]] = {}
    at = 0
    for name, (shapes, _) in jobs.items():
        for shape in shapes:
            sources.setdefault(name, []).append(Region(0, at, "F32", shape))
            at += sources[name][-1].nbytes
    path = tmp_path / "source"
    path.write_bytes(np.random.default_rng(0).standard_normal(at // 4).astype(np.float32).tobytes())
    plans = []
    for outtype in outtypes:
        made, end = [], 16
        for name, (shapes, ops) in jobs.items():
            for op in ops:
                shapes = op.shape(shapes)
            outputs = []
            for shape in shapes:
                outputs.append(Region(0, end, outtype, shape))
                end += outputs[-1].nbytes
            made.append(TensorJob(name, tuple(sources[name]), tuple(ops), tuple(outputs)))
        plans.append(ConversionPlan("test", (InputFile.of(path),), (OutputFile(tmp_path / f"alone-{outtype}", end, b"head"),),
                                    tuple(made), ()))
    return plans


JOBS = {
    "nothing": ([(48, 64)], ()),
    "experts": ([(6, 8, 64)], ()),
    "split": ([(48, 64)], (Split((1, 1)),)),
    "split experts": ([(4, 48, 64)], (Split((1, 2)),)),
    "interleaved": ([(48, 64)], (Split(2, groups=24),)),
    "joined": ([(16, 64), (32, 64)], (Split((1, 2)).inverse,)),
    "cropped": ([(48, 64)], (Crop(start=4, stop=40), Add(1.0))),
    "padded": ([(36, 64)], (Crop(start=4, stop=40, rows=48).inverse,)),
    "turned": ([(64, 96)], (Transpose(),)),
    "permuted": ([(48, 64)], (RopePermute(8), Split((1, 1)))),
}


def test_every_kind_of_job(tmp_path: Path):
    """Jobs that give several arrays, and jobs that one type turns into other addresses than another does."""
    plans = synthetic(tmp_path, JOBS, ("F32", "F16", "Q8_0", "Q4_0", "BF16"))
    many = merged([replace(p, outputs=(replace(p.outputs[0], path=tmp_path / f"many-{i}"),)) for i, p in enumerate(plans)])
    assert all(by_address(job) == (job,) for job in many.jobs)
    result = execute(many, engine=SmallTiles(2))
    for i, plan in enumerate(plans):
        execute(plan)
        assert (tmp_path / f"many-{i}").read_bytes() == plan.outputs[0].path.read_bytes(), plan.outputs[0].path.name
    # Only zero rows that are stored as blocks keep a job from being shared.
    assert result.bytes_read == (tmp_path / "source").stat().st_size - 12 * 64 * 4 + 36 * 64 * 4


def test_a_merged_plan_is_data(tmp_path: Path):
    plan = merged(synthetic(tmp_path, JOBS, ("F32", "Q8_0")))
    again = ConversionPlan.from_json(plan.to_json())
    assert again == plan
    assert [len(files) for files in again.sets] == [1, 1]
    one_set = replace(plan, outputs=tuple(replace(o, set=0) for o in plan.outputs))
    assert again.digest() == plan.digest() != one_set.digest()


def test_plans_of_different_sources_are_not_merged(tmp_path: Path):
    one, other = synthetic(tmp_path, JOBS, ("F32", "Q8_0"))
    with pytest.raises(ValueError, match="different files"):
        merged([one, replace(other, inputs=(InputFile(tmp_path / "x", 1, 1),))])


class Sink:
    """`job.Files` that holds a source and drops what is written."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, file, offset, data):
        data[:] = np.frombuffer(self.data, np.uint8, len(data), offset)

    def write(self, file, offset, data):
        pass


@pytest.mark.parametrize("ops", [(), (RopePermute(8),), (Add(1.0),), (Transpose(),)], ids=str)
@pytest.mark.parametrize("source", ["BF16", "F32"])
def test_memory_is_what_the_plan_says(ops, source):
    """However many outputs a job has, what it holds stays within what the engine counts."""
    shape = (1024, 1024)
    types = ["Q4_0", "Q8_0", "Q5_1", "F16", "BF16", "F32", "Q4_0", "Q8_0"]
    whole = TensorJob("t", (Region(0, 0, source, shape),), ops, tuple(Region(i, 0, t, shape) for i, t in enumerate(types)))
    files = Sink(bytes(whole.sources[0].nbytes))
    run_tile(whole, Tile(0, 1, 1), files)  # compiles
    tracemalloc.start()
    try:
        run_tile(whole, Tile(0, 1, 1), files)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    slack = 2 << 20  # looking at values, and widening them, in small pieces
    assert peak < memory(whole) + slack
    alone = [replace(whole, outputs=(r,)) for r in whole.outputs]
    assert memory(whole) < sum(map(memory, alone)) / 2


# -- what fails fails alone -------------------------------------------------------------------------------------------


@pytest.fixture
def large(zoo, tmp_path: Path):
    """`large(value)`: an F32 GGUF file with this value in one matrix, in the middle of the file."""
    def made(value: float) -> Path:
        path = tmp_path / "large.gguf"
        ggufx.hf_to_gguf(zoo("llama-256"), path, outtype="f32", plain=True)
        where = read_gguf(path).tensors["blk.0.ffn_up.weight"]
        with open(path, "r+b") as file:
            file.seek(where.offset + 4 * (3 * where.shape[1] + 5))
            file.write(np.float32(value).tobytes())
        return path

    return made


def fan(source: Path, *outtypes: str, to: str = "{outtype}.gguf") -> ConversionPlan:
    plan, refused = plan_outputs(QuantizePlanner(source, source.parent / to, Quantization()), outtypes)
    assert not refused
    return plan


def check_alone(source: Path, *outtypes: str) -> None:
    """The files are what they are alone."""
    for outtype in outtypes:
        alone = source.parent / f"alone-{outtype}.gguf"
        execute(fan(source, outtype, to=alone.name), force=True)
        assert (source.parent / f"{outtype}.gguf").read_bytes() == alone.read_bytes()


@pytest.mark.parametrize(("value", "made", "failing"), [
    (1e5, ["q4_0", "bf16", "q6_k"], ["f16"]),
    (1e6, ["bf16", "q6_k"], ["q4_0", "f16"]),
    (np.inf, ["bf16"], ["q4_0", "f16", "q6_k"]),
])
@pytest.mark.parametrize("resume", [False, True])
def test_a_value_that_one_type_cannot_hold(large, value, made, failing, resume):
    source = large(value)
    before = set(source.parent.iterdir())
    result = execute(fan(source, "q4_0", "f16", "bf16", "q6_k"), engine=SmallTiles(2), resume=resume)
    assert {f.path.stem for f in result.files} == set(made)
    assert {f.path.stem for f in result.failures} == set(failing)
    for failure in result.failures:
        assert isinstance(failure.error, InputError)
        assert "blk.0.ffn_up.weight" in str(failure)
        assert "row 3, column 5 has no place in" in str(failure)
    assert {p.name for p in set(source.parent.iterdir()) - before} == {f"{t}.gguf" for t in made}
    check_alone(source, *made)


def test_a_failed_output_leaves_the_old_one(large):
    source = large(1e5)
    for outtype in ("f16", "q4_0"):
        (source.parent / f"{outtype}.gguf").write_text("old")
    with pytest.raises(ManyErrors, match="exists already"):
        execute(fan(source, "f16", "q4_0"))
    result = execute(fan(source, "f16", "q4_0"), force=True)
    assert [f.path.stem for f in result.failures] == ["f16"]
    assert (source.parent / "f16.gguf").read_text() == "old"
    check_alone(source, "q4_0")


@pytest.mark.parametrize(("value", "types"), [(np.inf, ("f16", "q4_0")), (np.nan, ("f32", "bf16", "q4_0"))])
def test_nothing_can_be_made(large, value, types):
    """Then it is an error like any other, as soon as that is known."""
    source = large(value)
    before = set(source.parent.iterdir())
    with pytest.raises(ManyErrors, match="has no place in"):
        execute(fan(source, *types), engine=SmallTiles(1))
    assert set(source.parent.iterdir()) == before


def test_a_name_that_is_taken_in_the_end(large, monkeypatch):
    """An output that cannot get its name does not keep the others from theirs."""
    source = large(0)
    real = os.replace

    def refuse(old, new):
        if Path(new).stem == "q8_0":
            raise OSError(5, "Input/output error")
        real(old, new)

    monkeypatch.setattr(os, "replace", refuse)
    result = execute(fan(source, "q4_0", "q8_0", "f16"))
    assert [f.path.stem for f in result.files] == ["q4_0", "f16"]
    (failure,) = result.failures
    assert isinstance(failure.error, StorageError)
    assert not (source.parent / "q8_0.gguf.part").exists()
    check_alone(source, "q4_0", "f16")


def stop(number: int):
    """An engine that is interrupted at its `number`-th tile."""

    class Stopping(SmallTiles):
        def run(self, conversion):
            for i, receipt in enumerate(super().run(conversion)):
                if i == number:
                    raise KeyboardInterrupt
                yield receipt

    return Stopping(1)


@pytest.mark.parametrize("number", [1, 60])
def test_resume(large, number):
    source = large(0)
    plan = fan(source, "q4_0", "q8_0", "f16")
    with pytest.raises(KeyboardInterrupt):
        execute(plan, engine=stop(number), resume=True)
    result = execute(plan, resume=True)
    assert result.kept == number
    check_alone(source, "q4_0", "q8_0", "f16")
    with pytest.raises(KeyboardInterrupt):
        execute(fan(source, "q4_1", "q5_1"), engine=stop(3), resume=True)
    with pytest.raises(UsageError, match="belongs to another conversion"):
        execute(fan(source, "q4_1", "q6_k", "q5_1"), resume=True)


def test_resume_finds_the_failure_again(large):
    """Receipts never speak for an output that failed. It fails at the 431st of 880 tiles."""
    source = large(1e5)
    plan = fan(source, "f16", "q4_0")
    journal = source.parent / "q4_0.gguf.ggufx-journal"
    for number in (300, 400, 10):
        with pytest.raises(KeyboardInterrupt):
            execute(plan, engine=stop(number), resume=True)
    assert any(NO_CHECKSUM in receipt.checksums for receipt in read_journal(journal).receipts)
    result = execute(plan, resume=True)
    assert [f.path.stem for f in result.failures] == ["f16"]
    assert result.kept == 430
    check_alone(source, "q4_0")
    assert not (source.parent / "f16.gguf").exists()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_interrupted_between_renames(large, interrupted_rename, number, force):
    """What has its name is complete and keeps it; with force the old files stay until the new ones replace them."""
    source = large(0)
    names = ("q4_0", "q8_0", "f16")
    plan = fan(source, *names)
    if force:
        for name in names:
            (source.parent / f"{name}.gguf").write_text("old")
    with interrupted_rename(number):
        execute(plan, resume=True, force=force)
    check_alone(source, *names[: number - 1])
    for name in names[number - 1 :]:
        path = source.parent / f"{name}.gguf"
        assert path.read_text() == "old" if force else not path.exists()
    result = execute(plan, resume=True, force=force)
    assert result.kept == result.receipts, "everything was done already"
    check_alone(source, *names)


# -- planning ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_made_is_known_before(zoo, tmp_path: Path):
    planner = GgufPlanner(zoo("llama-256"), tmp_path / "a-{outtype}.gguf", GgufOptions())
    plan, refused = plan_outputs(planner, ["q4_k_m", "iq2_xxs", "q8_0", "iq1_s"])
    assert [o.path.name for o in plan.outputs] == ["a-q4_k_m.gguf", "a-q8_0.gguf"]
    assert [f.path.name for f in refused] == ["a-iq2_xxs.gguf", "a-iq1_s.gguf"]
    assert all("importance matrix" in str(f) for f in refused)
    with pytest.raises(ManyErrors, match=r"IQ2_XXS(?s:.*)IQ1_S"):
        plan_outputs(planner, ["iq2_xxs", "iq1_s"])
    assert list(tmp_path.iterdir()) == []


def test_what_concerns_all_is_said_once(zoo, tmp_path: Path):
    options = GgufOptions(quantization=Quantization(tensor_types=("attn=q9_k",)))
    with pytest.raises(UsageError, match="q9_k"):
        plan_outputs(GgufPlanner(zoo("llama-256"), tmp_path / "{outtype}", options), ["q4_0", "q8_1", "q5_0"][::2])


def test_notes_name_the_file_that_they_are_about(zoo, tmp_path: Path):
    matrix = tmp_path / "matrix.dat"
    write_legacy(matrix, {"blk.0.attn_q.weight": np.ones((1, 256), np.float32)})
    options = GgufOptions(quantization=Quantization(imatrix_file=matrix), plain=True)
    planner = GgufPlanner(zoo("llama-256"), tmp_path / "{outtype}.gguf", options)
    plan, _ = plan_outputs(planner, ["q8_0", "q4_k_m"])
    alone = planner.plan("q8_0").notes
    of_file = "the importance matrix is of no use for Q8_0, and left alone"
    assert plan.notes[: len(alone)] == tuple(f"q8_0.gguf: {note}" if note == of_file else note for note in alone)
    more, path = sorted(plan.notes[len(alone) :], key=lambda note: "matrix.dat" in note)
    assert path.startswith("q4_k_m.gguf: "), path
    assert more.startswith("q4_k_m.gguf: quantized tensors without an entry in the importance matrix: ")
    assert {t.set for t in plan.tensors} == {0, 1}
    assert plan.facts["sets"][1]["file_type"] == "Q4_K_M"
    assert 4 < plan.facts["sets"][1]["bits_per_weight"] < plan.facts["sets"][0]["bits_per_weight"] < 9


@pytest.mark.parametrize(("outfile", "outtypes", "expected"), [
    ("m-{outtype}.gguf", ["Q4_K_M", " q8_0"], ["m-q4_k_m.gguf", "m-q8_0.gguf"]),
    ("m-{OUTTYPE}.gguf", "q4_k_m,auto", ["m-Q4_K_M.gguf", "m-BF16.gguf"]),
    ("{ftype}/m-{FTYPE}.gguf", "q6_k", ["q6_k/m-Q6_K.gguf"]),
    ("m{}-{other}.gguf", ["f16"], ["m{}-{other}.gguf"]),
    (None, ["q4_k_m", "f16", "auto"], ["llama-897K-256-Q4_K_M.gguf", "llama-897K-256-F16.gguf", "llama-897K-256-BF16.gguf"]),
])
def test_names(zoo, outfile, outtypes, expected):
    planner = GgufPlanner(zoo("llama-256"), outfile and Path(outfile), GgufOptions())
    plan, _ = plan_outputs(planner, outtypes)
    assert [str(o.path) for o in plan.outputs] == expected


@pytest.mark.parametrize(("outfile", "outtypes", "words"), [
    ("m.gguf", "q4_0,q8_0", r"several types would go to this file(?s:.*)\{outtype\}"),
    ("m-{outtype}.gguf", "q4_0,Q4_0", "several types"),
    (None, "bf16,auto", "several types"),
    ("m-{outtype}.gguf", "q4_0,", "a type is missing"),
    ("m-{outtype}.gguf", [], "a type is missing"),
    ("m-{outtype}.gguf", "q4_0,q9_k,x", "q9_k(?s:.*)'x'"),
    ("m-{outtype}.gguf", "q4_0,copy", "COPY"),
])
def test_calls_that_are_wrong(zoo, outfile, outtypes, words):
    """Nothing is done then, not even for the types that are right."""
    with pytest.raises(GgufxError, match=words) as caught:
        plan_outputs(GgufPlanner(zoo("llama-256"), outfile and Path(outfile), GgufOptions()), outtypes)
    assert caught.value.code == "usage"


def test_the_source_is_no_output(zoo, tmp_path: Path):
    source = tmp_path / "m-q4_0.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), source)
    with pytest.raises(UsageError, match="same file"):
        plan_outputs(QuantizePlanner(source, tmp_path / "m-{outtype}.gguf", Quantization()), "q8_0,q4_0")


def test_from_python(zoo, tmp_path: Path):
    result = ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "{outtype}.gguf", outtype=("q4_k_m", "q8_0"))
    assert [f.path.name for f in result.files] == ["q4_k_m.gguf", "q8_0.gguf"]
    assert result.failures == ()
    with pytest.raises(IncompleteError, match=r"iq1_s.gguf was not made: (?s:.*)importance matrix") as caught:
        ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "more-{outtype}.gguf", outtype=["q6_k", "iq1_s"])
    assert [f.path.name for f in caught.value.result.files] == ["more-q6_k.gguf"]
    assert (tmp_path / "more-q6_k.gguf").exists()
    assert caught.value.to_json()["failures"][0]["path"] == str(tmp_path / "more-iq1_s.gguf")
    with pytest.raises(IncompleteError) as caught:
        ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "no-{outtype}.gguf", outtype=["q6_k", "iq1_s"], dry_run=True)
    assert [o.path.name for o in caught.value.result.outputs] == ["no-q6_k.gguf"]
    assert not (tmp_path / "no-q6_k.gguf").exists()
