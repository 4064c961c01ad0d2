"""Split models: gguf-split's bytes, whole models in one step, joined again, read by everything; and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, StorageError, UnsupportedError, UsageError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.safetensors import read_safetensors_header
from ggufx.converters.io.values import i32, string, u16, u32
from ggufx.converters.plan.gguf_output import SplitLimits
from ggufx.converters.planners.copied_tensors import plan_split
from ggufx.converters.run.execute import execute
from zoo import peers
from zoo.split import CUTS, FILES, GOLDEN, KEYS, write
from zoo.towers import TOWERS, build_tower

import ggufx


@pytest.fixture(scope="module")
def model(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in one file."""
    path = tmp_path_factory.mktemp("whole") / "m.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), path)
    return path


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.gguf"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*.gguf"))}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("file", FILES)
def test_the_bytes_of_gguf_split_and_back(tmp_path: Path, file: str, cut: str):
    whole = write(tmp_path / "m.gguf", FILES[file])
    (tmp_path / "parts").mkdir()
    execute(plan_split(whole, tmp_path / "parts" / "p", SplitLimits(**CUTS[cut][1])))
    assert digests(tmp_path / "parts") == json.loads(GOLDEN.read_text())[file][cut]
    first = min((tmp_path / "parts").iterdir())
    ggufx.join(first, tmp_path / "back.gguf")
    expected = write(tmp_path / "without.gguf", {k: v for k, v in FILES[file].items() if not k.startswith("split.")})
    assert (tmp_path / "back.gguf").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("alignment", [8, 64])
def test_another_alignment_comes_back(tmp_path: Path, alignment: int):
    """gguf-split pads to 32 bytes and says otherwise; here each part keeps to what it says."""
    whole = write(tmp_path / "m.gguf", {**KEYS, "general.alignment": u32(alignment)}, alignment)
    ggufx.split(whole, tmp_path / "p", max_tensors=3)
    assert [read_gguf(tmp_path / f"p-0000{n}-of-00003.gguf").alignment for n in (1, 2, 3)] == [alignment, 32, 32]
    ggufx.join(tmp_path / "p-00001-of-00003.gguf", tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == whole.read_bytes()


def test_outer_dimensions_of_one_are_kept(tmp_path: Path):
    """gguf-split drops them (routers of shared experts, token types, convolutions), and its merge does not bring them back."""
    keys, laid = {"general.architecture": string("qwen2moe")}, layout([("a", "F32", (1, 8)), ("b", "F16", (1, 1, 16))])
    whole = tmp_path / "m.gguf"
    whole.write_bytes(encode_header(keys, laid) + bytes(64))
    ggufx.split(whole, tmp_path / "p", max_tensors=1)
    assert read_gguf(tmp_path / "p-00002-of-00002.gguf").tensors["b"].shape == (1, 1, 16)
    ggufx.join(tmp_path / "p-00001-of-00002.gguf", tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("plain", [False, True])
def test_outer_dimensions_that_were_dropped_come_back(zoo, tmp_path: Path, plain: bool):
    """The bytes of llama-quantize have them no longer, those of gguf-split neither; transformers loads no other shape."""
    ggufx.hf_to_gguf(zoo("qwen2moe"), tmp_path / "whole.gguf", plain=plain)
    ggufx.quantize(tmp_path / "whole.gguf", tmp_path / "m.gguf", "q8_0")
    assert read_gguf(tmp_path / "m.gguf").tensors["blk.0.ffn_gate_inp_shexp.weight"].shape == (64,)
    ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "back")
    folders = zoo("qwen2moe"), tmp_path / "back"
    there, back = (read_safetensors_header(folder / "model.safetensors").tensors for folder in folders)
    assert {name: back[name].shape for name in there} == {name: t.shape for name, t in there.items()}


def test_a_tensor_above_the_limit_stands_alone(tmp_path: Path):
    """Where it is the first, gguf-split ends: "one of splits have 0 tensors"."""
    result = ggufx.split(write(tmp_path / "m.gguf"), tmp_path / "p", max_size=400_000)
    assert [list(read_gguf(f.path).tensors) for f in result.files] == [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g", "h"]]


@pytest.mark.parametrize("limits", [{"split_max_tensors": 6}, {"split_max_size": 400_000}])
@pytest.mark.parametrize("verb", ["hf-to-gguf", "quantize"])
def test_one_step_is_two(zoo, model: Path, tmp_path: Path, verb: str, limits: dict[str, int]):
    def made(out: Path, **options: int) -> ggufx.Result:
        if verb == "quantize":
            return ggufx.quantize(model, out, "q8_0", **options)
        return ggufx.hf_to_gguf(zoo("llama-256"), out, outtype="q8_0", **options)

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    result = made(tmp_path / "one" / "m.gguf", **limits)
    made(tmp_path / "whole.gguf")
    ggufx.split(tmp_path / "whole.gguf", tmp_path / "two" / "m", **{k.removeprefix("split_"): v for k, v in limits.items()})
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(result.files) > 2
    assert [f.path for f in result.files] == sorted((tmp_path / "one").iterdir())


def test_within_the_limits_it_is_one_file(model: Path, tmp_path: Path):
    ggufx.quantize(model, tmp_path / "m.gguf", "q8_0", split_max_size=10**9, split_max_tensors=100)
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    assert not any(key.startswith("split.") for key in read_gguf(tmp_path / "m.gguf").metadata)


@pytest.mark.parametrize(("outfile", "split", "whole"), [
    ("m-{outtype}.gguf", "q8_0/m-q8_0", "m-q4_0.gguf"), ("{OUTTYPE}/m.gguf", "Q8_0/m", None),
    ("{ftype}-m.gguf", "q8_0/q8_0-m", "q4_0-m.gguf"),
])
def test_a_folder_for_each_type(model: Path, tmp_path: Path, outfile: str, split: str, whole: str | None):
    """Only of those that are split; a folder that all are to go to must be there, as ever."""
    if whole is None:
        (tmp_path / "Q4_0").mkdir()
    ggufx.quantize(model, tmp_path / outfile, ["q8_0", "q4_0"], split_max_size=800_000)
    made = [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*.gguf"))]
    assert made == sorted([*(f"{split}-0000{n}-of-00002.gguf" for n in (1, 2)), whole or "Q4_0/m.gguf"])


def test_a_projector_beside_is_never_split(tmp_path: Path):
    folder = build_tower(TOWERS["gemma3-eye"], tmp_path / "m")
    result = ggufx.hf_to_gguf(folder, tmp_path / "x.gguf", outtype="f16", mmproj=True, split_max_tensors=8)
    assert [f.path.name for f in result.files] == ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf", "mmproj-M-F16.gguf"]
    assert not any(key.startswith("split.") for key in read_gguf(tmp_path / "mmproj-M-F16.gguf").metadata)


def test_a_folder_that_fails_does_not_stay(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.replace

    def refuse(old, new):
        if "q8_0" in str(new):
            raise OSError(5, "Input/output error")
        real(old, new)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ggufx.IncompleteError) as caught:
        ggufx.quantize(model, tmp_path / "m-{outtype}.gguf", ["q4_0", "q8_0"], split_max_tensors=10)
    assert [f.path.name for f in caught.value.failures] == ["m-q8_0-00001-of-00002.gguf"]
    assert [p.name for p in tmp_path.iterdir()] == ["q4_0"]
    assert len(contents(tmp_path)) == 2


def test_every_reader_takes_a_set(zoo, model: Path, tmp_path: Path):
    ggufx.split(model, tmp_path / "p", max_tensors=7)
    first = tmp_path / "p-00001-of-00003.gguf"
    assert ggufx.verify(model, first).same
    assert len(ggufx.inspect(first).files) == len(ggufx.inspect(tmp_path / "p-00002-of-00003.gguf").files) == 3
    ggufx.gguf_to_hf(first, tmp_path / "hf")
    assert (tmp_path / "hf" / "model.safetensors").read_bytes() == (zoo("llama-256") / "model.safetensors").read_bytes()
    for source, out in ((model, "a"), (first, "b")):
        ggufx.quantize(source, tmp_path / out, "q8_0")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    ggufx.split(first, tmp_path / "again", max_tensors=12)
    ggufx.join(tmp_path / "again-00001-of-00002.gguf", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == model.read_bytes()


@pytest.mark.skipif(peers.missing_runtime() is not None, reason="no llama.cpp")
def test_llama_cpp_computes_the_same(model: Path, tmp_path: Path):
    ggufx.split(model, tmp_path / "p", max_tensors=7, first_empty=True)
    logits = [peers.llama_logits(path, [1, 2, 3]) for path in (model, tmp_path / "p-00001-of-00004.gguf")]
    assert np.array_equal(*logits)


def test_an_end_between_two_parts(model: Path, tmp_path: Path, interrupted_rename):
    """The first part, by which a set is opened, is the last: an interrupt takes the others back, a kill leaves them to
    --resume."""
    with interrupted_rename(3):
        ggufx.quantize(model, tmp_path / "m.gguf", "q8_0", split_max_tensors=7)
    assert contents(tmp_path) == {}
    for number in (2, 3):  # as a kill at that moment would
        os.rename(tmp_path / f"m-0000{number}-of-00003.gguf.part", tmp_path / f"m-0000{number}-of-00003.gguf")
    result = ggufx.quantize(model, tmp_path / "m.gguf", "q8_0", split_max_tensors=7, resume=True)
    assert result.kept == result.receipts
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert ggufx.quantize(model, tmp_path / "m.gguf", "q8_0", split_max_tensors=7, resume=True).bytes_written == 0


def test_a_dry_run(model: Path, tmp_path: Path):
    (tmp_path / "new").mkdir()
    plan = ggufx.split(model, tmp_path / "new" / "p", max_tensors=7, dry_run=True)
    assert [o.path.name for o in plan.listed] == [f"p-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new" / "p-00002-of-00003.gguf").touch()
    with pytest.raises(UsageError, match="p-00002-of-00003"):
        ggufx.split(model, tmp_path / "new" / "p", max_tensors=7, dry_run=True)
    with pytest.raises(StorageError, match="no such folder"):
        ggufx.split(model, tmp_path / "none" / "p", max_tensors=7, dry_run=True)


def written(path: Path, keys, names=("t",)) -> Path:
    laid = layout([(name, "F32", (8,)) for name in names])
    path.write_bytes(encode_header(keys, laid) + bytes(32 * len(laid)))
    return path


@pytest.mark.parametrize(("keys", "words"), [
    ({"general.type": string("adapter"), "general.architecture": string("llama")}, "LoRA adapter"),
    ({"general.type": string("mmproj"), "general.architecture": string("clip")}, "projector"),
    ({"general.architecture": string("clip")}, "projector"), ({"general.type": string("imatrix")}, "importance matrix"),
])
def test_what_is_never_split(tmp_path: Path, keys, words: str):
    with pytest.raises(UnsupportedError, match=words):
        ggufx.split(written(tmp_path / "a.gguf", keys), tmp_path / "p", max_tensors=1)


@pytest.mark.parametrize(("call", "words"), [
    (lambda m, t: ggufx.split(m, t / "p"), "--max-size|max_size"),
    (lambda m, t: ggufx.split(m, t / "p", max_tensors=0), "at least one tensor"),
    (lambda m, t: ggufx.split(m, t / "p", max_size=-5), "at least one byte"),
    (lambda m, t: ggufx.quantize(m, t / "p", "q8_0", split_max_tensors=-1), "at least one tensor"),
    (lambda m, t: ggufx.join(m, t / "out.gguf"), "no part of a split model"),
])
def test_calls_that_are_wrong(model: Path, tmp_path: Path, call, words: str):
    with pytest.raises(UsageError, match=words):
        call(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_source_is_no_output(model: Path, tmp_path: Path):
    ggufx.split(model, tmp_path / "p", max_tensors=10)
    first = tmp_path / "p-00001-of-00002.gguf"
    for call in (lambda: ggufx.split(first, tmp_path / "p", max_tensors=10, force=True),
                 lambda: ggufx.join(first, first, force=True),
                 lambda: ggufx.quantize(first, tmp_path / "p.gguf", "q8_0", split_max_tensors=10, force=True)):
        with pytest.raises(GgufxError, match="same file"):
            call()


@pytest.mark.parametrize(("number", "changes", "words"), [
    (0, {"split.count": u16(65535)}, "split.count"), (0, {"split.count": i32(-1)}, "split.count"),
    (0, {"split.no": u16(65535)}, "not the first part"), (1, {"split.no": u16(7)}, "split.no"),
    (1, {"split.count": u16(9)}, "split.count"), (0, {"split.tensors.count": i32(2**31 - 1)}, "split.tensors.count"),
    (0, {"split.count": string("2")}, "split.count"), (1, {"split.tensors.count": i32(1)}, "split.tensors.count"),
])
@pytest.mark.parametrize("verb", ["join", "split", "quantize", "gguf_to_hf", "verify"])
def test_hostile_keys(tmp_path: Path, verb: str, number: int, changes, words: str):
    parts = [tmp_path / f"p-0000{n}-of-00002.gguf" for n in (1, 2)]
    for n, path in enumerate(parts):
        keys = {**(KEYS if n == 0 else {}), "split.no": u16(n), "split.tensors.count": i32(2), "split.count": u16(2)}
        written(path, {**keys, **(changes if n == number else {})}, [f"t{n}"])
    others = {"join": (tmp_path / "out",), "split": (tmp_path / "out",), "quantize": (tmp_path / "out", "q8_0"),
              "gguf_to_hf": (tmp_path / "out",), "verify": (parts[0],)}
    with pytest.raises(GgufxError, match=words) as caught:
        getattr(ggufx, verb)(parts[0], *others[verb], **({"max_tensors": 1} if verb == "split" else {}))
    assert isinstance(caught.value, InputError)
    assert str(caught.value).count("\n") == (caught.value.hint is not None)
    assert sorted(tmp_path.iterdir()) == parts


@pytest.mark.parametrize(("name", "words"), [
    ("p-00001-of-65535.gguf", "65534 of the 65535 parts are missing"), ("p-00001-of-00003.gguf", "renamed"),
    ("p-00003-of-00002.gguf", "renamed"), ("p.gguf", "renamed"), ("p-1-of-2.gguf", "renamed"),
])
def test_names_with_other_numbers(tmp_path: Path, name: str, words: str):
    count = 65535 if "65535" in name else 2
    keys = {**KEYS, "split.no": u16(0), "split.tensors.count": i32(2), "split.count": u16(count)}
    with pytest.raises(InputError, match=words):
        ggufx.join(written(tmp_path / name, keys), tmp_path / "out.gguf")


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from ggufx.converters.plan import gguf_output

    monkeypatch.setattr(gguf_output, "MAX_PARTS", 7)
    with pytest.raises(UsageError, match=r"too many parts .* found 8"):
        ggufx.split(write(tmp_path / "m.gguf"), tmp_path / "p", max_tensors=1)
