"""What is wrong with an original checkpoint: one line that says where, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError
from ggufx.converters.sources.original.folder import open_model
from zoo import originals

import ggufx


@pytest.fixture(scope="module")
def source(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    hf = originals.padded(zoo("llama-mha"), tmp_path_factory.mktemp("hf") / "m", 4)
    folder = originals.meta(hf, tmp_path_factory.mktemp("meta") / "m", 4)
    originals.copy(hf, folder, "tokenizer.model")
    return folder


@pytest.fixture
def meta(source: Path, tmp_path: Path) -> Path:
    return shutil.copytree(source, tmp_path / "m")


def refused(folder: Path, kind: type[GgufxError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        open_model(folder)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def set_params(folder: Path, **changes: object) -> None:
    raw = json.loads((folder / "params.json").read_text()) | changes
    originals.write(folder / "params.json", {key: value for key, value in raw.items() if value is not None})


def change(file: Path, **tensors: torch.Tensor | None) -> None:
    shard = torch.load(file) | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    torch.save({name: tensor for name, tensor in shard.items() if tensor is not None}, file)


@pytest.mark.parametrize("number", [1, 3])
def test_a_missing_shard(meta: Path, number: int):
    """In the midst by its number, at the end by the shapes."""
    (meta / f"consolidated.{number:02d}.pth").unlink()
    assert f"{meta}: shards are missing: consolidated.{number:02d}.pth" in refused(meta)


def test_a_missing_part(zoo: Callable[[str], Path], meta: Path):
    own = originals.mistral(zoo("mistral"), meta.parent / "own", 2)
    originals.copy(meta, own, "tokenizer.model")
    (own / "consolidated-00002-of-00002.safetensors").unlink()
    assert "1 of the 2 parts are missing: consolidated-0000" in refused(own)


def test_half_a_folder(meta: Path):
    for file in meta.glob("consolidated.*"):
        file.unlink()
    said = refused(meta, UnsupportedError)
    assert "is the settings of a model in its maker's own layout, without its weights" in said
    assert "Put the weights (consolidated.*) of the same download beside params.json." in said


def test_a_tokenizer_of_another_model(zoo: Callable[[str], Path], meta: Path, tmp_path: Path):
    """It has fewer tokens than the weights have rows."""
    wide = originals.meta(originals.padded(zoo("llama-mha"), tmp_path / "wide", 2048), tmp_path / "w")
    originals.copy(meta, wide, "tokenizer.model")
    rows = 2048
    for folder, said in ((wide, 1), (meta, 0)):
        for plan in (ggufx.hf_to_gguf(folder, tmp_path / "m.gguf", dry_run=True),
                     ggufx.original_to_hf(folder, tmp_path / "hf", dry_run=True)):
            assert sum(f"the weights have rows for {rows}: it may be another model's" in note for note in plan.notes) == said


def test_what_the_runtime_does_is_not_said_of_a_checkpoint(zoo: Callable[[str], Path], meta: Path, tmp_path: Path):
    own = originals.mistral(zoo("mistral"), tmp_path / "own", params={"sliding_window": 16})
    originals.copy(meta, own, "tokenizer.model")
    window = [sum("sliding_window" in note for note in plan.notes) for plan in (
        ggufx.hf_to_gguf(own, tmp_path / "m.gguf", dry_run=True), ggufx.original_to_hf(own, tmp_path / "hf", dry_run=True))]
    assert window == [1, 0]


def test_too_many_shards(meta: Path):
    for number in range(4, 66):
        (meta / f"consolidated.{number:02d}.pth").write_bytes(b"")
    assert "too many shards (expected at most 64, found 66)" in refused(meta)


def test_shards_that_contradict_each_other(meta: Path):
    last = meta / "consolidated.03.pth"
    change(last, layers__0__attention__wv__weight=torch.zeros(8, 64, dtype=torch.float16))
    assert refused(meta).startswith(f"{last}: tensor layers.0.attention.wv.weight: is not as in consolidated.00.pth "
                                    "(expected F16 [16, 64], found F16 [8, 64])")
    change(last, layers__0__attention__wv__weight=torch.zeros(16, 64, dtype=torch.bfloat16))
    assert "found BF16" in refused(meta)
    change(last, layers__0__attention__wv__weight=None)
    assert "tensor layers.0.attention.wv.weight: in 3 of the 4 shards" in refused(meta)


def test_shapes_and_params_that_contradict_each_other(meta: Path):
    set_params(meta, n_kv_heads=2)
    said = refused_all(meta)
    assert "its shape does not fit params.json" in said
    assert "layers.1.attention.wv.weight (expected 32 x 64, or one of 4 equal pieces, found [16, 64])" in said
    set_params(meta, n_kv_heads=4, dim=128)
    assert "its shape does not fit params.json" in refused_all(meta)
    set_params(meta, dim=64, n_heads=3)
    assert "n_heads: does not divide dim" in refused(meta)


def refused_all(folder: Path) -> str:
    with pytest.raises(GgufxError) as caught:
        open_model(folder)
    return str(caught.value)


def test_no_tokenizer(meta: Path):
    (meta / "tokenizer.model").unlink()
    said = refused(meta)
    assert said.startswith(f"{meta}: has no tokenizer\n")
    assert "here or one level up" in said
    assert len(open_model(meta, whole=False).tensors) == 21


def test_no_head(meta: Path):
    for file in meta.glob("*.pth"):
        change(file, output__weight=None)
    assert "tensor output.weight: missing, and params.json does not say that it is tied" in refused(meta)


def test_no_model(meta: Path):
    for file in meta.glob("*.pth"):
        torch.save({"norm.weight": torch.zeros(64)}, file)
    assert "holds no model of text" in refused(meta)


def test_unknown_names_are_left_to_the_table(meta: Path):
    for file in meta.glob("*.pth"):
        change(file, layers__0__attention__q_norm__weight=torch.zeros(16))
    assert "layers.0.attention.q_norm.weight" in open_model(meta).tensors


MISTRAL = {"hidden_dim": 96, "multiple_of": None, "ffn_dim_multiplier": None, "max_seq_len": 64}
PARAMS = {
    "unknown": ({"n_loops": 2}, "n_loops: a setting that ggufx does not know of Meta's models"),
    "Llama 4": ({"moe_args": {"num_experts": 16}}, "is Llama 4 in Meta's layout"),
    "vision": ({"vision_chunk_size": 560}, "is a Llama with cross-attention to images"),
    "QLoRA": ({"lora_args": {"rank": 16, "scale": 2.0}}, "weights that were trained quantized"),
    "MLA": ({"hidden_dim": 96, "q_lora_rank": 16}, "has latent attention (MLA)"),
    "shared experts": ({"hidden_dim": 96, "moe": {"num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1}},
                       "has experts of another kind"),
    "yarn alone": (MISTRAL | {"yarn": {"factor": 2}}, "llama_4_scaling is missing"),
    "windows": (MISTRAL | {"sliding_window": "4096,8192"}, "sliding_window: no one window"),
    "a text": ({"n_layers": "two"}, "n_layers: wrong value (expected a whole number above 0, found 'two')"),
    "nothing": ({"n_heads": 0}, "n_heads: wrong value"),
    "layers": ({"n_layers": 2**31 - 1}, "n_layers: the tensors are of another number of layers (expected 2, found 2147483647)"),
    "missing": ({"norm_eps": None}, "norm_eps: missing"),
}


@pytest.mark.parametrize("case", PARAMS)
def test_params(meta: Path, case: str):
    changes, said = PARAMS[case]
    set_params(meta, **changes)
    found = refused(meta, GgufxError)
    assert found.startswith(f"{meta}/params.json: ")
    assert said in found


def test_params_are_told_in_two_forms(meta: Path):
    """Everything under "model", as some releases have it, and null for what is left out."""
    raw = json.loads((meta / "params.json").read_text())
    originals.write(meta / "params.json", {"model": raw | {"vision_args": None, "n_loops": None}})
    assert open_model(meta).config["hidden_size"] == 64


def test_a_folder_without_params(meta: Path):
    (meta / "params.json").unlink()
    said = refused(meta, UnsupportedError)
    assert "without params.json" in said
    assert "of the same download" in said


def test_several_tokenizers(meta: Path, zoo: Callable[[str], Path]):
    own = originals.mistral(zoo("mistral"), meta.parent / "own")
    for name in ("tokenizer.model.v1", "tokenizer.model.v3"):
        shutil.copyfile(meta / "tokenizer.model", own / name)
    opened = open_model(own)
    assert opened.made["tokenizer.model"] == own / "tokenizer.model.v3"
    assert "the tokenizer is tokenizer.model.v3; not read: tokenizer.model.v1" in opened.notes
