"""A conversion is data: pickled, in another process, in parts, it writes the same bytes."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elsewhere import carried_out
from ggufx.converters.errors import GgufxError, InputError, StorageError
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
from ggufx.converters.planners.many_outputs import plan_outputs
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.run.conversion import Conversion, GrowingFile
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from ggufx.converters.run.journal import Receipt
from zoo.adapters import make_adapter
from zoo.quantized import importance, write_legacy

import ggufx

# Rooms that know models: a worker needs none of them.
MODELS = ("rules", "arch", "tokenizer", "metadata", "planners", "verify", "sources")


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


class Elsewhere:
    """An `Engine` of processes, each with every n-th job."""

    devices = ("elsewhere",)

    def __init__(self, pool: ProcessPoolExecutor, parts: int) -> None:
        self.notes: list[str] = []
        self._pool, self._parts = pool, parts
        self.took: set[str] = set()

    def run(self, conversion: Conversion) -> Iterator[Receipt]:
        numbers = sorted(conversion.jobs)
        parts = [conversion.part(numbers[i :: self._parts]) for i in range(self._parts)]
        assert sum(len(part.jobs) for part in parts) == len(numbers)
        for receipts, modules in self._pool.map(carried_out, parts):
            self.took.update(modules)
            yield from receipts


def many(zoo, tmp_path: Path, name: str):
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "plain.gguf", plain=True, force=True)
    write_legacy(tmp_path / "matrix.dat", importance(tmp_path / "plain.gguf"))
    options = GgufOptions(quantization=Quantization(imatrix_file=tmp_path / "matrix.dat"))
    plan, _ = plan_outputs(GgufPlanner(zoo("llama-256"), tmp_path / name / "{outtype}.gguf", options), "q4_k_m,iq2_xxs,f16")
    return plan


def one(model: str):
    return lambda zoo, tmp_path, name: GgufPlanner(zoo(model), tmp_path / name / "m.gguf", GgufOptions()).plan("q8_0")


def adapter(zoo, tmp_path: Path, name: str):
    folder = tmp_path / "adapter"
    if not folder.exists():
        make_adapter(zoo("llama"), folder, {"target_modules": ["q_proj", "down_proj"]})
    return plan_lora_to_gguf(zoo("llama"), folder, tmp_path / name / "a.gguf", LoraOptions("f16"))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("plan", [many, one("qwen3moe"), one("gemma3"), one("deepseek2-lite"), adapter],
                         ids=["weights", "experts", "offsets", "latent", "adapter"])
def test_other_processes_write_the_same_bytes(zoo, tmp_path: Path, processes, plan, parts):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    here = execute(plan(zoo, tmp_path, "here"), device="cpu")
    engine = Elsewhere(processes, parts)
    there = execute(plan(zoo, tmp_path, "there"), engine=engine)
    assert [f.sha256 for f in there.files] == [f.sha256 for f in here.files]
    for a, b in zip(here.files, there.files, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert not [m for m in engine.took if m.startswith(tuple(f"ggufx.converters.{room}" for room in MODELS))]


def small(tmp_path: Path, values: np.ndarray) -> Conversion:
    """float32 [rows, 32] as F16 in one set and as F32 in another, each with an unrelated file."""
    from ggufx.converters.plan.plan import InputFile, Region, TensorJob

    source = tmp_path / "source"
    values.tofile(source)
    outputs = []
    for number, size in enumerate((values.nbytes // 2, 10, values.nbytes, 10)):
        part = tmp_path / f"{number}.part"
        part.write_bytes(bytes(size))
        outputs.append(GrowingFile(tmp_path / str(number), part, size, number // 2))
    job = TensorJob("t", (Region(0, 0, "F32", values.shape),), (), (Region(0, 0, "F16", values.shape),
                                                                  Region(2, 0, "F32", values.shape)))
    return Conversion((InputFile.of(source),), tuple(outputs), {7: job}, {}, 1 << 20)


def test_pickled_it_is_equal(tmp_path: Path):
    conversion = small(tmp_path, np.zeros((8, 32), np.float32))
    assert pickle.loads(pickle.dumps(conversion)) == conversion
    assert conversion.part([7]) == conversion
    assert not conversion.part([]).jobs


def test_failures_come_back_in_receipts(tmp_path: Path, processes):
    """A value that one set cannot hold is no exception, and the other set gets its bytes."""
    values = np.ones((8, 32), np.float32)
    values[3, 5] = 1e6
    conversion = small(tmp_path, values)
    receipts, _ = processes.submit(carried_out, conversion).result()
    (receipt,) = receipts
    assert receipt.job == 7
    ((number, error),) = receipt.failed
    assert number == 0
    assert isinstance(error, InputError)
    assert "row 3, column 5" in str(error)
    assert conversion.outputs[2].part.read_bytes() == values.tobytes()
    assert conversion.outputs[0].part.read_bytes() == bytes(values.nbytes // 2)


def test_a_set_that_failed_gets_nothing_more(tmp_path: Path):
    values = np.ones((64, 32), np.float32)
    values[0, 0] = 1e6
    conversion = small(tmp_path, values)

    class Small(Threads):
        def tile_bytes(self, max_memory, job=None):
            return 1024

    receipts = list(Small(1).run(conversion))
    assert len(receipts) > 4
    assert [len(r.failed) for r in receipts] == [1] + [0] * (len(receipts) - 1)
    assert conversion.outputs[0].part.read_bytes() == bytes(values.nbytes // 2)


@pytest.mark.parametrize("change", ["size", "link", "gone"])
def test_an_output_that_is_not_the_one_that_was_begun(tmp_path: Path, change):
    conversion = small(tmp_path, np.zeros((8, 32), np.float32))
    part = conversion.outputs[0].part
    if change == "size":
        part.write_bytes(b"other")
    else:
        part.unlink()
    if change == "link":
        part.symlink_to(tmp_path / "3.part")
    with pytest.raises(StorageError, match=r"0\.part"):
        list(Threads(1).run(conversion))
    assert (tmp_path / "3.part").read_bytes() == bytes(10)


def test_a_complete_output_is_left_alone(tmp_path: Path):
    conversion = small(tmp_path, np.ones((8, 32), np.float32))
    sealed = replace(conversion, outputs=(replace(conversion.outputs[0], part=None), *conversion.outputs[1:]))
    assert len(list(Threads(1).run(sealed))) == 1
    assert (tmp_path / "0.part").read_bytes() == bytes(8 * 64)
    assert (tmp_path / "2.part").read_bytes() == np.ones((8, 32), np.float32).tobytes()


def test_errors_pass_between_processes():
    error = InputError("is wrong", file="f", tensor="t", expected=1, found=[2], hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == str(error)
    assert again.to_json() == error.to_json()
    assert isinstance(again, GgufxError)
