"""Checkpoint folders: every layout is found; what is missing, contradictory or leads elsewhere is named at once."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from ggufx.converters.errors import GgufxError, InputError, ManyErrors
from ggufx.converters.sources import hf_folder
from ggufx.converters.sources.hf_folder import config_only, open_adapter, open_checkpoint, safe_file
from safetensors.torch import load_file, save_file

import ggufx

CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4, "auto_map": {"AutoModel": "canary.Model"}}
PARTS = {
    "model-00001-of-00002.safetensors": {"a.weight": torch.ones(2, 3),
                                         "b.weight": torch.zeros(4, dtype=torch.bfloat16)},
    "model-00002-of-00002.safetensors": {"c.weight": torch.ones(2, 2, dtype=torch.float16)},
}
WEIGHT_MAP = {name: file for file, tensors in PARTS.items() for name in tensors}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def write_index(folder, weight_map=None, name="model.safetensors.index.json", **fields) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": WEIGHT_MAP if weight_map is None else weight_map, **fields}
    (folder / name).write_text(json.dumps(index))


@pytest.fixture
def sharded(folder):
    for name, tensors in PARTS.items():
        save_file(tensors, folder / name)
    write_index(folder)
    return folder


def message(call, *args) -> str:
    with pytest.raises(GgufxError) as caught:
        call(*args)
    return str(caught.value)


def test_single_file(folder):
    save_file(PARTS["model-00001-of-00002.safetensors"], folder / "model.safetensors")
    found = open_checkpoint(folder)
    assert found.config == CONFIG
    assert {t.name: (t.type, t.shape, t.file.name) for t in found.tensors.values()} == {
        "a.weight": ("F32", (2, 3), "model.safetensors"), "b.weight": ("BF16", (4,), "model.safetensors")}
    assert found.notes == []


def test_index(sharded):
    found = open_checkpoint(sharded)
    assert {t.name: t.file.name for t in found.tensors.values()} == WEIGHT_MAP
    raw = (sharded / "model-00002-of-00002.safetensors").read_bytes()
    tensor = found.tensors["c.weight"]
    assert raw[tensor.offset:tensor.offset + tensor.nbytes] == PARTS[tensor.file.name]["c.weight"].numpy().tobytes()


def test_a_single_file_is_preferred_and_stale_parts_are_left_alone(sharded):
    save_file({"only": torch.ones(1)}, sharded / "model.safetensors")
    assert list(open_checkpoint(sharded).tensors) == ["only"]
    (sharded / "model.safetensors").unlink()
    save_file({"stale": torch.ones(1)}, sharded / "model-00001-of-00009.safetensors")
    assert set(open_checkpoint(sharded).tensors) == set(WEIGHT_MAP)


def test_parts_without_an_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    found = open_checkpoint(sharded)
    assert {t.name: t.file.name for t in found.tensors.values()} == WEIGHT_MAP
    assert found.notes == ["no index: all 2 *.safetensors files are read"]


def test_pickled_weights_carry_a_note(folder):
    torch.save({"a.weight": torch.ones(2)}, folder / "pytorch_model.bin")
    found = open_checkpoint(folder)
    assert found.tensors["a.weight"].type == "F32"
    assert "weights_only" in found.notes[0]


def test_pickled_index(folder):
    torch.save({"a": torch.ones(2)}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(2)}, folder / "pytorch_model-00002-of-00002.bin")
    weight_map = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    write_index(folder, weight_map, "pytorch_model.bin.index.json")
    assert {t.name: t.file.name for t in open_checkpoint(folder).tensors.values()} == weight_map


def test_safetensors_are_preferred_to_pickles(sharded):
    (sharded / "pytorch_model.bin").write_bytes(b"never read")
    assert set(open_checkpoint(sharded).tensors) == set(WEIGHT_MAP)


@pytest.mark.parametrize("save", [lambda tensors, folder: save_file(tensors, folder / "adapter_model.safetensors"),
                                  lambda tensors, folder: torch.save(tensors, folder / "adapter_model.bin")],
                         ids=["safetensors", "bin"])
def test_adapter(tmp_path, save):
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    save({"base_model.model.q.lora_A.weight": torch.ones(8, 4)}, tmp_path)
    found = open_adapter(tmp_path)
    assert found.config == {"r": 8}
    assert found.tensors["base_model.model.q.lora_A.weight"].shape == (8, 4)


def test_adapter_faults_come_together(tmp_path):
    found = message(open_adapter, tmp_path)
    assert "has no adapter_config.json" in found
    assert "no adapter_model.safetensors, adapter_model.bin" in found


def test_config_only(folder):
    assert config_only(folder) == CONFIG
    (folder / "config.json").unlink()
    assert "has no config.json" in message(config_only, folder)
    assert "no such folder" in message(config_only, folder / "x")
    (folder / "x").write_text("y")
    assert "the base model's folder (its config.json is enough) is needed, this is a file" in message(config_only, folder / "x")


def test_config_may_hold_infinity(folder):
    (folder / "config.json").write_text('{"time_step_limit": [0.0, Infinity]}')
    assert config_only(folder)["time_step_limit"][1] == float("inf")


def test_config_and_weight_faults_come_together(folder):
    (folder / "config.json").write_text("{")
    found = message(open_checkpoint, folder)
    assert "config.json: byte 1" in found
    assert "has no weights" in found


# ------------------------------------------------------------------------------------------------------ faulty folders


def test_missing_and_cut_files_are_named_together(sharded):
    (sharded / "model-00001-of-00002.safetensors").unlink()
    path = sharded / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    found = message(open_checkpoint, sharded)
    assert "1 of 2 files are missing: model-00001-of-00002.safetensors" in found
    assert "model-00002-of-00002.safetensors: byte" in found
    assert "the file is cut" in found


def test_pointer_in_place_of_a_part(sharded):
    (sharded / "model-00001-of-00002.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    assert "git-LFS pointer" in message(open_checkpoint, sharded)


def test_index_and_headers_disagree(sharded):
    first, second = PARTS
    """transformers loads what the files hold, and misses what they do not; it never looks at which tensor is where."""
    write_index(sharded, {"a.weight": second, "c.weight": second, "ghost": first})
    found = open_checkpoint(sharded)
    assert {t.name: t.file.name for t in found.tensors.values()} == WEIGHT_MAP
    assert found.promised == ("ghost",)
    assert found.notes == ["model.safetensors.index.json does not say what its files hold (a.weight, b.weight, ghost): the "
                           "files count, as in transformers"]


def test_a_promised_tensor_that_the_model_would_have(zoo, tmp_path):
    """An optional one (Qwen2's bias of o_proj is none; llama's is) would be missing in silence."""
    copy = tmp_path / "m"
    shutil.copytree(zoo("llama-tied"), copy)
    (copy / "model.safetensors").rename(copy / "model-00001-of-00001.safetensors")
    names = dict.fromkeys(load_file(copy / "model-00001-of-00001.safetensors"), "model-00001-of-00001.safetensors")
    one = next(iter(names.values()))
    write_index(copy, {**names, "lm_head.weight": one, "model.layers.0.self_attn.rotary_emb.inv_freq": one, "unheard.of": one})
    ggufx.hf_to_gguf(copy, tmp_path / "a.gguf")
    write_index(copy, {**names, "model.layers.0.self_attn.o_proj.bias": one})
    said = message(ggufx.hf_to_gguf, copy, tmp_path / "b.gguf")
    assert "tensor model.layers.0.self_attn.o_proj.bias: in no file, but the index lists it" in said


def test_the_file_that_config_json_chooses(sharded):
    """transformers_weights of transformers 5."""
    save_file({"fp16": torch.ones(1)}, sharded / "model.fp16.safetensors")
    (sharded / "config.json").write_text(json.dumps({"transformers_weights": "model.fp16.safetensors"}))
    found = open_checkpoint(sharded)
    assert list(found.tensors) == ["fp16"]
    assert "those of model.fp16.safetensors" in found.notes[0]
    write_index(sharded, {"fp16": "model.fp16.safetensors"}, "model.fp16.safetensors.index.json")
    for chosen in ("model.fp16.safetensors.index.json", "model.safetensors.index.json"):
        (sharded / "config.json").write_text(json.dumps({"transformers_weights": chosen}))
        assert set(open_checkpoint(sharded).tensors) == ({"fp16"} if "fp16" in chosen else set(WEIGHT_MAP))
    for missing in ("absent.safetensors", "../model.safetensors", "/etc/passwd", ""):
        (sharded / "config.json").write_text(json.dumps({"transformers_weights": missing}))
        assert "transformers_weights: no such file in the folder" in message(open_checkpoint, sharded)


@pytest.mark.parametrize("beside", ["pytorch_model.bin", "consolidated.safetensors", "model.fp16.safetensors",
                                    "pytorch_model-00001-of-00002.bin", "consolidated.00.pth"])
def test_weights_that_are_not_read_are_named(folder, beside):
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    (folder / beside).write_bytes(b"never read")
    assert open_checkpoint(folder).notes == [
        f"the weights are those of model.safetensors, as in transformers; not read: {beside}"]


def test_an_adapter_beside_the_weights_is_named(folder):
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    save_file({"b": torch.ones(1)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert open_checkpoint(folder).notes == ["an adapter lies beside the weights; it is not part of the result"]
    assert list(open_adapter(folder).tensors) == ["b"]


def test_parts_without_an_index_that_are_not_all_there(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    (sharded / "model-00001-of-00002.safetensors").unlink()
    assert "1 of the 2 parts are missing: model-0000" in message(open_checkpoint, sharded)


def test_two_sets_of_weights_without_a_choice(folder):
    for precision in ("fp16", "fp32"):
        save_file({f"{i}": torch.ones(1) for i in range(9)}, folder / f"model.{precision}.safetensors")
    said = message(open_checkpoint, folder)
    assert "tensor 0: already stored in model.fp16.safetensors, as 8 more tensors are" in said
    assert len(said.splitlines()) == 2


def test_pickled_parts_without_their_index(folder):
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"x")
    assert "not pytorch_model.bin.index.json" in message(open_checkpoint, folder)


@pytest.mark.parametrize("name", ["merges.txt", "tokenizer.model", "tokenizer.json", "generation_config.json",
                                  "chat_template.jinja", "vocab.txt", "README.md"])
def test_a_pointer_in_place_of_a_file_beside_the_weights(sharded, name):
    (sharded / "picture.png").write_text("version https://git-lfs.github.com/spec/v1\n")  # nobody reads it
    open_checkpoint(sharded)
    (sharded / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert f"{name}: is a git-LFS pointer" in message(open_checkpoint, sharded)


def test_tensor_in_two_files(sharded):
    save_file({**PARTS["model-00002-of-00002.safetensors"], "a.weight": torch.ones(1)},
              sharded / "model-00002-of-00002.safetensors")
    assert "tensor a.weight: already stored in model-00001-of-00002.safetensors" in message(open_checkpoint, sharded)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/../../b", "a/b.safetensors", "C:\\x",
                                  "\\\\srv\\s", "C:x", "", ".", "..", "a\0b", "x\n", "sub\\x"])
def test_index_that_leaves_its_folder(folder, name):
    write_index(folder, {"a": name})
    found = message(open_checkpoint, folder)
    assert "model.safetensors.index.json: names a file outside of its folder" in found
    assert "has no weights" not in found


def test_index_of_a_name_longer_than_file_systems_hold(folder):
    write_index(folder, {"a": "a" * 5000})
    assert "1 of 1 files are missing: aaaa" in message(open_checkpoint, folder)
    assert "no such folder" in message(open_checkpoint, folder / ("a" * 5000))


@pytest.mark.parametrize("weight_map", [[], "x", {}, {"a": 1}, {"a": None}, {"a": ["x"]}, None])
def test_index_of_wrong_types(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "weight_map: tensor names to file names are needed" in message(open_checkpoint, folder)


def test_index_twice_the_same_tensor(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "x", "a": "y"}}')
    assert "'a' occurs twice" in message(open_checkpoint, folder)


def test_index_of_very_many_faults_has_a_bounded_message(folder):
    write_index(folder, {f"t{i}": f"../{i}" for i in range(10_000)})
    with pytest.raises(ManyErrors) as caught:
        open_checkpoint(folder)
    assert len(str(caught.value)) < 5000
    assert "(10,000 problems)" in str(caught.value)
    write_index(folder, {f"t{i}": f"{i}.safetensors" for i in range(10_000)})
    assert len(message(open_checkpoint, folder)) < 1000
    write_index(folder, {f"t{i}": f"{i}.safetensors" for i in range(10_001)})
    assert "too many files (expected at most 10000, found 10001)" in message(open_checkpoint, folder)


def test_two_hundred_files_are_each_read_once(folder, monkeypatch):
    weight_map = {}
    for i in range(200):
        weight_map |= {f"t{i}.{j}": f"model-{i:05d}.safetensors" for j in range(5)}
        save_file({f"t{i}.{j}": torch.ones(1) for j in range(5)}, folder / f"model-{i:05d}.safetensors")
    write_index(folder, weight_map)
    read = []
    reader = hf_folder.read_safetensors_header
    monkeypatch.setattr(hf_folder, "read_safetensors_header", lambda path: read.append(path) or reader(path))
    assert len(open_checkpoint(folder).tensors) == 1000
    assert len(read) == 200


# --------------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_link_out_of_the_folder(folder, tmp_path, name):
    save_file(PARTS["model-00002-of-00002.safetensors"], tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    write_index(tmp_path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / name)
    said = message(open_checkpoint, folder)
    assert "is a link out of the folder" in said
    assert "Give the folder in which the file itself lies" in said


def test_part_that_links_out_of_the_folder(sharded, tmp_path):
    part = sharded / "model-00002-of-00002.safetensors"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to("../elsewhere")
    assert "is a link out of the folder" in message(open_checkpoint, sharded)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json",
                                  "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(sharded, name, kind):
    if name == "pytorch_model.bin":
        (sharded / "model.safetensors.index.json").unlink()
    (sharded / name).unlink(missing_ok=True)
    (os.mkfifo if kind == "fifo" else os.mkdir)(sharded / name)
    found = message(open_checkpoint, sharded)
    assert name in found
    assert "not a regular file" in found or "is a directory" in found


def test_links_into_the_hub_cache(sharded, tmp_path):
    """As `hf download --local-dir` made them."""
    blobs = tmp_path / "hub" / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    part = sharded / "model-00002-of-00002.safetensors"
    part.rename(blobs / ("ab" * 32))
    part.symlink_to(blobs / ("ab" * 32))
    assert set(open_checkpoint(sharded).tensors) == set(WEIGHT_MAP)
    part.unlink()
    (blobs / ("ab" * 32)).rename(blobs / "secret")
    part.symlink_to(blobs / "secret")
    assert "is a link out of the folder" in message(open_checkpoint, sharded)


def test_links_inside_the_folder_and_to_the_folder(sharded, tmp_path):
    part = sharded / "model-00002-of-00002.safetensors"
    part.rename(sharded / "other")
    part.symlink_to("other")
    (tmp_path / "link").symlink_to(sharded)
    assert set(open_checkpoint(tmp_path / "link").tensors) == set(WEIGHT_MAP)


def test_links_in_a_circle(sharded):
    part = sharded / "model-00002-of-00002.safetensors"
    part.unlink()
    part.symlink_to(part.name)
    with pytest.raises(InputError):
        open_checkpoint(sharded)


@pytest.mark.parametrize("store", ["models--org--name/blobs", "blobs/ab"])
def test_snapshot_of_the_hub_cache(sharded, tmp_path, store):
    """Snapshots link to the repository's blobs, and these may link to a store of the whole cache."""
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "hub" / "models--org--name" / "blobs"
    blobs.mkdir()
    shared = store.startswith("blobs")
    (tmp_path / "hub" / store).mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(sharded.iterdir()):
        path.rename(tmp_path / "hub" / store / f"{i:064x}")
        if shared:
            (blobs / f"{i:x}").symlink_to(os.path.relpath(tmp_path / "hub" / store / f"{i:064x}", blobs))
        (snapshot / path.name).symlink_to(f"../../blobs/{i:x}" if shared else f"../../blobs/{i:064x}")
    found = open_checkpoint(snapshot)
    assert set(found.tensors) == set(WEIGHT_MAP)
    assert {t.file.name for t in found.tensors.values()} == set(PARTS)


def test_snapshot_links_to_another_repository_or_into_its_own_refs_are_refused(tmp_path):
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "models--org--other" / "blobs").mkdir(parents=True)
    for target in ("../../../models--org--other/blobs/x", "../../refs/main", "../../../../x"):
        (snapshot / "config.json").unlink(missing_ok=True)
        (snapshot / "config.json").symlink_to(target)
        assert "is a link out of the folder" in message(config_only, snapshot)


def test_a_folder_that_only_looks_like_a_snapshot(tmp_path):
    folder = tmp_path / "a" / "snapshots" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "a" / "blobs").mkdir()
    (tmp_path / "a" / "blobs" / "x").write_text("{}")
    (folder / "config.json").symlink_to("../../blobs/x")
    assert "is a link out of the folder" in message(config_only, folder)


def test_safe_file_need_not_exist(tmp_path):
    assert safe_file(tmp_path, "tokenizer.json") == tmp_path / "tokenizer.json"


def test_code_in_the_folder_is_never_run(sharded, tmp_path):
    canary = tmp_path / "canary"
    for name in ("canary.py", "__init__.py", "config.py", "modeling.py"):
        (sharded / name).write_text(f"open({str(canary)!r}, 'w')")
    open_checkpoint(sharded)
    assert not canary.exists()
