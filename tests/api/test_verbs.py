"""The Python API: explicit signatures, errors that name the argument, short reprs, and the same result as the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.io.gguf import read_gguf
from zoo.quantized import importance, write_legacy

import ggufx
from ggufx.arguments import fits

VERBS = [ggufx.hf_to_gguf, ggufx.imatrix, ggufx.gguf_to_hf, ggufx.lora_to_gguf, ggufx.merge_lora, ggufx.quantize,
         ggufx.split, ggufx.join, ggufx.edit, ggufx.verify, ggufx.inspect, ggufx.run_shard, ggufx.commit, ggufx.batch]


@pytest.fixture(scope="module")
def gguf(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "a.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), path)
    return path


def test_all_names_are_there():
    assert all(getattr(ggufx, name) is not None for name in ggufx.__all__)


@pytest.mark.parametrize("verb", VERBS)
def test_an_editor_shows_every_argument(verb):
    parameters = inspect.signature(verb).parameters.values()
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    assert all(p.annotation is not p.empty for p in parameters)
    said = (verb.__doc__ or "") + (ggufx.__doc__ or "") + (ggufx.hf_to_gguf.__doc__ or "")
    assert all(p.name in said for p in parameters if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize(("call", "argument"), [
    (lambda: ggufx.hf_to_gguf("m", outtype=5), "outtype"),
    (lambda: ggufx.hf_to_gguf("m", outtype=["q4_0", 5]), "outtype"),
    (lambda: ggufx.hf_to_gguf(None), "model"),
    (lambda: ggufx.gguf_to_hf("m", None), "folder"),
    (lambda: ggufx.gguf_to_hf("m", "out", dtype="q8_0"), "dtype"),
    (lambda: ggufx.gguf_to_hf("m", "out", max_shard_size=0), "max_shard_bytes"),
    (lambda: ggufx.lora_to_gguf("a", base="b", threads="all"), "threads"),
    (lambda: ggufx.quantize("m", "out", "q8_0", max_memory=1.5), "max_memory"),
    (lambda: ggufx.quantize("m", "out", "q8_0", tensor_types={"a": 1}), "tensor_types"),
    (lambda: ggufx.quantize("m", "out", "q8_0", force="yes"), "force"),
    (lambda: ggufx.verify("a", "b", ignore="general.*"), "ignore"),
    (lambda: ggufx.verify("a", "b", threads=0), "threads"),
    (lambda: ggufx.verify("a", "b", progress=1), "progress"),
])
def test_a_wrong_argument_is_named(call, argument: str):
    with pytest.raises(ggufx.GgufxError, match=argument) as caught:
        call()
    assert caught.value.code == "usage"


def test_an_unknown_argument_is_named_as_python_does():
    with pytest.raises(TypeError, match=r"quantize\(\) got an unexpected keyword argument 'imatrx'"):
        ggufx.quantize("m", "out", "q8_0", imatrx="x")


@pytest.mark.parametrize(("value", "hint", "right"), [
    (True, bool, True), (1, bool, False), (True, int, False), (1, float, True), ("a", str | Path, True),
    (None, str | None, True), (["a"], list[str], True),
    ([1], list[str], False), ({"a": 1}, dict[str, int | str], True), ({1: 1}, dict[str, int], False),
])
def test_fits(value, hint, right: bool):
    assert fits(value, hint) is right


def test_reprs_are_short(zoo, gguf: Path, tmp_path: Path):
    plan = ggufx.gguf_to_hf(gguf, tmp_path / "out", dry_run=True)
    assert repr(plan) == f"<ConversionPlan gguf-to-hf: 20 tensors, {plan.output_bytes:,} bytes -> {tmp_path / 'out'}>"
    assert len(repr(plan.outputs)) < 3000
    result = ggufx.quantize(gguf, tmp_path / "q.gguf", "q8_0")
    assert repr(result).startswith(f"<Result {tmp_path / 'q.gguf'}: ")
    report = ggufx.verify(gguf, tmp_path / "q.gguf")
    assert repr(report) == f"<Report {gguf} and {tmp_path / 'q.gguf'}: same, 5 identical, 15 close>"


def test_a_dry_run_refuses_what_a_run_refuses(gguf: Path, tmp_path: Path):
    (tmp_path / "there").touch()
    for outfile in (tmp_path / "there", tmp_path / "no" / "x"):
        said = []
        for dry_run in (True, False):
            with pytest.raises(ggufx.GgufxError) as caught:
                ggufx.quantize(gguf, outfile, "q8_0", dry_run=dry_run)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_quantize_with_everything_that_the_command_line_has(zoo, gguf: Path, tmp_path: Path):
    write_legacy(tmp_path / "im.dat", importance(gguf))
    made = tmp_path / "q.gguf"
    options = {"imatrix": tmp_path / "im.dat", "tensor_types": {"ffn_down": "q5_1"}, "output_tensor_type": "q8_0",
               "override_kv": {"general.name": "mine", "llama.context_length": 77, "x.flag": True, "x.part": 0.5}}
    ggufx.quantize(gguf, made, "q4_k_m", **options)
    held = read_gguf(made)
    assert held.tensors["blk.0.ffn_down.weight"].type == "Q5_1"
    keys = {k: held.metadata[k].data for k in ("general.name", "llama.context_length", "x.flag", "x.part")}
    assert keys == {"general.name": "mine", "llama.context_length": 77, "x.flag": True, "x.part": np.float32(0.5)}
    assert held.metadata["quantize.imatrix.entries_count"].data > 0
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "h.gguf", outtype="q4_k_m", **options)
    assert read_gguf(tmp_path / "h.gguf").tensors["blk.0.ffn_down.weight"].type == "Q5_1"
    with pytest.raises(ggufx.GgufxError, match="do not fit"):
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "x.gguf", outtype="q4_k_m", fallback=False)


def test_several_types(gguf: Path, tmp_path: Path):
    with pytest.raises(ggufx.IncompleteError) as caught:
        ggufx.quantize(gguf, tmp_path / "{outtype}.gguf", ["q8_0", "iq1_s"])
    assert [f.path.name for f in caught.value.result.files] == ["q8_0.gguf"]
    assert [f.path.name for f in caught.value.failures] == ["iq1_s.gguf"]
