"""The CUDA engine gives the bytes of threads, and says what it could not do. Kernels run in Triton's interpreter."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
from ggufx.converters.errors import UnsupportedError, UsageError
from ggufx.converters.plan.plan import Region, TensorJob
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.many_outputs import plan_outputs
from ggufx.converters.run.engines import choice
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from ggufx.converters.sources.packed.logical import open_logical
from ggufx.converters.sources.packed.tensor import PackedTensor
from ggufx.quant import KERNELS
from ggufx.quant.cuda import proof
from zoo.packed import pair

import ggufx

from ..sources.packed.test_fp8 import shaped
from ..sources.packed.test_hub_models import nf4, nvfp4
from ..sources.packed.test_whole_numbers import gptq, settings

TYPES = "q4_0,q8_0,bf16"


def on_threads(folder: Path, outfile: Path, outtypes: str) -> list[str]:
    plan, _ = plan_outputs(GgufPlanner(folder, outfile, GgufOptions()), outtypes)
    return [f.sha256 for f in execute(plan, device="cpu", force=True).files]


# Between them: rows permuted, halved, tiled, cropped; transposes, stacks, latent attention, packed experts.
FORWARD = [
    ("llama-256", "q6_k,q8_0,f16,bf16,f32"),
    ("mistral", "q4_0,bf16"),
    ("qwen3moe", "q8_0,f16"),
    ("qwen35", "q8_0,f16"),
    ("gemma3", "q5_1,f16"),
    ("phi3", "q8_0"),
    ("gpt2", "q4_1,f16"),
    ("gptoss", "q8_0,bf16"),
    ("deepseek2-lite", "q8_0,f16"),
    ("bert", "f16,q8_0"),
]


@pytest.mark.parametrize(("name", "outtypes"), FORWARD, ids=lambda x: x)
def test_forward(cuda, zoo, tmp_path, name, outtypes):
    out = tmp_path / "{outtype}.gguf"
    digests, devices, notes, tiles = cuda.forward(zoo(name), out, outtypes)
    assert digests == on_threads(zoo(name), out, outtypes)
    assert devices == ("cuda:0 (Triton's interpreter)",)
    assert notes == ()
    assert tiles > 0


PACKED = {"FP8": (shaped((), "{m}.weight_scale"), {}, "q8_0,bf16"), "GPTQ": (gptq(sym=True), settings(sym=True), "q8_0,f16"),
          "NVFP4": (nvfp4, {}, "q8_0,auto"), "NF4": (nf4, {}, "q8_0,f16")}
BITS = {"FP8": 8, "GPTQ": 4 + 20 / 32, "NVFP4": 4.5, "NF4": 4.5}  # of a weight, with what belongs to it


def packed_as(form: str, zoo, folder: Path) -> tuple[Path, str]:
    change, declared, types = PACKED[form]
    return pair(zoo("llama-256"), folder, change, declared)[0], types


@pytest.mark.parametrize("form", PACKED)
def test_packed_checkpoints(cuda, zoo, tmp_path, form):
    """Sent as they are stored and decoded by the GPU, or repacked by the CPU: the same bytes."""
    model, types = packed_as(form, zoo, tmp_path)
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, decoded, sent = cuda.packed(model, out, types)
    assert digests == on_threads(model, out, types)
    assert notes == ()
    floats = sum(t.nbytes for t in open_logical(model).tensors.values() if not isinstance(t, PackedTensor))
    weights = sum(prod(t.shape) for t in open_logical(model).tensors.values() if isinstance(t, PackedTensor))
    assert decoded >= 14  # the matrices of two blocks
    assert sent < floats + 1.5 * weights * BITS[form] / 8  # tables of places and of values beside; these models are tiny


@pytest.mark.parametrize("rows", [100, 0])
def test_out_of_memory_while_decoding(cuda, zoo, tmp_path, rows):
    model, types = packed_as("GPTQ", zoo, tmp_path)
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, decoded, _ = cuda.packed(model, out, types, rows)
    assert digests == on_threads(model, out, types)
    assert notes == ("the GPU's memory was not enough for all tiles: some were cut smaller",)
    assert (decoded > 0) == (rows > 0)


@pytest.mark.parametrize("error", [None, RuntimeError("no such instruction")], ids=["wrong", "broken"])
def test_the_decoder_must_prove_its_values(cuda, zoo, tmp_path, error):
    model, types = packed_as("FP8", zoo, tmp_path)
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, decoded, _ = cuda.packed_unproven(model, out, types, error)
    assert digests == on_threads(model, out, types)
    why = "other bytes than it must make; please report it" if error is None else "RuntimeError: no such instruction"
    assert notes == (f"codes of 8 bits in 8, scales was decoded by the CPU; cuda:0: {why}",)
    assert not decoded


@pytest.mark.parametrize(("outtype", "dtype"), [("q4_k_m", "auto"), ("q8_0", "f16"), ("f16", "f32")])
def test_back(cuda, zoo, tmp_path, outtype, dtype):
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "m.gguf", outtype=outtype, plain=True)
    digests, devices, notes = cuda.back(tmp_path / "m.gguf", tmp_path / "cuda", dtype)
    result = ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "cpu", dtype=dtype, device="cpu")
    assert digests == [f.sha256 for f in result.files]
    assert (devices, notes) == (("cuda:0 (Triton's interpreter)",), ())
    assert result.devices == ("cpu",)


def test_tiles_are_dealt_to_all_gpus(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    digests, devices, _, seen = cuda.failing(zoo("llama-256"), out, TYPES, gpus=("one", "two"))
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert devices == ("cuda:0 (one)", "cuda:1 (two)")
    assert set(seen) == {0, 1}


def test_a_gpu_that_fails_is_left_alone(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, seen = cuda.failing(zoo("llama-256"), out, TYPES, calls=(4,))
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert notes == ("cuda:0 failed and was left alone: RuntimeError: out of luck",)
    assert len(seen) < 12  # the other thread may have been at a tile


def test_of_two_gpus_the_other_goes_on(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, seen = cuda.failing(zoo("llama-256"), out, TYPES, calls=(4,), gpus=("one", "two"))
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert len(notes) == 1
    assert set(seen[6:]) == {1 - seen[3]}


def test_gpus_that_cannot_be_had(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes = cuda.without_streams(zoo("llama-256"), out, TYPES)
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert sorted(notes) == [f"cuda:{i} failed and was left alone: RuntimeError: busy or unavailable" for i in (0, 1)]


@pytest.mark.parametrize("rows", [100, 3, 0])
def test_out_of_memory(cuda, zoo, tmp_path, rows):
    """Smaller tiles where those will do, the CPU where nothing will."""
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, _ = cuda.out_of_memory(zoo("llama-256"), out, TYPES, rows)
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert notes == ("the GPU's memory was not enough for all tiles: some were cut smaller",)


def test_a_kernel_must_prove_its_bytes(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    digests, _, notes, done = cuda.unproven(zoo("llama-256"), out, TYPES, wrong=("Q4_0", "BF16"), broken=("Q8_0",))
    assert digests == on_threads(zoo("llama-256"), out, TYPES)
    assert sorted(notes) == [
        "BF16 was decoded by the CPU; cuda:0: other bytes than it must make; please report it",
        "Q4_0 was quantized by the CPU; cuda:0: other bytes than it must make; please report it",
        "Q8_0 was quantized by the CPU; cuda:0: RuntimeError: no such instruction",
    ]
    assert done == {"Q6_K"}


@pytest.mark.parametrize(("value", "outtype"), [("nan", "q8_0"), (1e7, "q8_0"), (1e20, "q4_0"), (1e6, "f16"), ("nan", "f32")])
def test_a_value_without_a_place_is_the_same_error(cuda, zoo, tmp_path, value, outtype):
    from safetensors.torch import load_file, save_file

    model = tmp_path / "model"
    model.mkdir()
    for file in zoo("llama-256").iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][17, 5] = float(value)
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ggufx.GgufxError) as error:
        on_threads(model, tmp_path / "cpu.gguf", outtype)
    assert "row 17, column 5 has no place in" in str(error.value)
    assert cuda.error_of(model, tmp_path / "cpu.gguf", outtype) == ("InputError", str(error.value))
    assert not list(tmp_path.glob("*.gguf*"))


def test_what_a_gpu_began_threads_complete(cuda, zoo, tmp_path):
    out = tmp_path / "{outtype}.gguf"
    assert cuda.interrupted(zoo("llama-256"), out, TYPES)
    plan, _ = plan_outputs(GgufPlanner(zoo("llama-256"), out, GgufOptions()), TYPES)
    result = execute(plan, device="cpu", resume=True)
    assert result.kept
    assert [f.sha256 for f in result.files] == on_threads(zoo("llama-256"), out, TYPES)


# ------------------------------------------------------------------------------------------------------------ proofs


def test_recorded_proofs_are_of_the_right_bytes():
    found = {format: {trial: proof.digest(format, trial, "cpu") for trial in proof.trials(format)} for format in KERNELS}
    assert found == proof.recorded()


def test_the_kernels_prove_themselves(cuda):
    searched = ("F16", "BF16", "Q4_0", "Q8_0", "Q6_K", "MXFP4")  # others take the interpreter a while
    tried = [(f, t) for f in KERNELS for t in proof.trials(f) if t == proof.VALUES or f in searched]
    assert cuda.proven(tried) == []


# ------------------------------------------------------------------------------------------------------------ choice


def large(kind: str, numbers: int) -> list[TensorJob]:
    shape = (numbers // 4096, 4096)
    return [TensorJob("t", (Region(0, 0, "BF16", shape),), (), (Region(0, 0, kind, shape),))]


def test_effort_counts_what_is_quantized():
    assert choice.effort(large("Q4_K", 1 << 20)) == 1 << 20
    assert choice.effort(large("IQ2_XS", 1 << 20)) == 1 << 23
    assert choice.effort(large("F16", 1 << 20)) == choice.effort(large("BF16", 1 << 20)) == 0


def test_auto_takes_threads_unless_a_gpu_is_worth_it(monkeypatch):
    def never():
        raise AssertionError("looked for a GPU")

    monkeypatch.setattr(choice, "gpus", never)
    monkeypatch.setattr(choice, "driver", lambda: True)
    assert isinstance(choice.choose("auto", large("Q4_K", 1 << 29), 2), Threads)
    assert isinstance(choice.choose("cpu", large("Q4_K", 1 << 31), 2), Threads)
    monkeypatch.setattr(choice, "driver", lambda: False)
    assert isinstance(choice.choose("auto", large("Q4_K", 1 << 31), 2), Threads)
    with pytest.raises(AssertionError, match="looked for a GPU"):
        choice.choose("cuda", large("Q4_K", 1 << 20), 2)
    monkeypatch.setattr(choice, "driver", lambda: True)
    with pytest.raises(AssertionError, match="looked for a GPU"):
        choice.choose("auto", large("Q4_K", 1 << 31), 2)


def test_what_is_not_there_is_named(monkeypatch):
    def none():
        raise ValueError("torch is built without CUDA")

    monkeypatch.setattr(choice, "driver", lambda: True)
    monkeypatch.setattr(choice, "gpus", none)
    assert isinstance(choice.choose("auto", large("Q4_K", 1 << 31), 2), Threads)
    with pytest.raises(UnsupportedError, match="cuda cannot be used: torch is built without CUDA"):
        choice.choose("cuda", [], 2)
    monkeypatch.setattr(choice, "gpus", lambda: ["A", "B"])
    with pytest.raises(UnsupportedError, match=r"there is no cuda:2 \(found cuda:0 \(A\), cuda:1 \(B\)\)"):
        choice.choose("cuda:2", [], 2)
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", "cuda:0,1", ""):
        with pytest.raises(UsageError, match="is not a device"):
            choice.choose(name, [], 2)
