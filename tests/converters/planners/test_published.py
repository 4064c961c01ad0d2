"""No file that is written says where on a machine its sources lay, whichever text said so."""

import json
import shutil

import numpy as np
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import string, strings, u32
from zoo.adapters import make_adapter
from zoo.files import changed_copy, read_file, write_file

import ggufx

LEAKS = ("/home/secret", "file:///home/secret", "C:\\Users\\secret", "~secret/x")
CARD = """---
name: /home/secret/name
author: /home/secret/author
description: made on /home/secret/box from file:///home/secret/data
license_link: file:///home/secret/LICENSE
model_creator: C:\\Users\\secret
repo_url: ~secret/repo
tags: ["base_model:adapter:/home/secret/base", "base_model:adapter:./secret", lora, transformers]
base_model: {name: base, repo_url: file:///home/secret/base}
datasets: /home/secret/data
---
"""


def told(path) -> str:
    """Every byte of a file's header, or of a folder's texts, as text."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.suffix in (".json", ".md")]
    return "\n".join(f.read_bytes().decode("latin-1") for f in files)


def test_a_model(zoo, tmp_path):
    source = changed_copy(zoo("llama"), tmp_path / "m", _name_or_path="/home/secret/trained")
    (source / "README.md").write_text(CARD)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps(settings | {
        "name_or_path": "/home/secret/tok", "tokenizer_file": "C:\\Users\\secret\\tokenizer.json"}))
    (source / "generation_config.json").write_text(json.dumps({"top_k": 4, "_from": "~secret/x"}))
    plan = ggufx.hf_to_gguf(source, tmp_path / "a.gguf", dry_run=True)
    (note,) = (n for n in plan.notes if n.kind.startswith("paths of a machine"))
    assert {"general.tags", "ggufx.config", "ggufx.tokenizer_config", "ggufx.generation_config"} <= {*note.names}
    ggufx.hf_to_gguf(source, tmp_path / "a.gguf")
    assert "secret" not in told(tmp_path / "a.gguf")
    keys = read_gguf(tmp_path / "a.gguf").metadata
    assert keys["general.tags"].data == ["lora", "transformers"]
    assert keys["general.description"].data == "made on box from data"
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["_name_or_path"] == "trained"


def test_an_adapter_both_ways(zoo, tmp_path):
    base = tmp_path / "home" / "secret"
    shutil.copytree(zoo("llama"), base)
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": ["q_proj"]})
    (adapter / "README.md").write_text(CARD)
    ggufx.lora_to_gguf(adapter, outfile=tmp_path / "a.gguf")
    assert "secret" not in told(tmp_path / "a.gguf")
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=base)
    assert "secret" not in told(tmp_path / "back")


def test_what_others_wrote_does_not_go_on(zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf", plain=True)
    keys, tensors = read_file(tmp_path / "a.gguf")
    keys |= {"general.description": string("of /home/secret/box"), "general.tags": strings(["x", *LEAKS])}
    ggufx.gguf_to_hf(write_file(tmp_path / "b.gguf", keys, tensors), tmp_path / "back")
    assert "secret" not in told(tmp_path / "back")


def test_an_importance_matrix(zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "a.gguf")
    _, tensors = read_file(tmp_path / "a.gguf")
    ones = {n: s[-1] for n, (_, s, _) in tensors.items() if len(s) == 2 and n.startswith("blk.")}
    written = {}
    for name, columns in ones.items():
        written[f"{name}.in_sum2"] = ("F32", (1, columns), np.ones(columns, np.float32).tobytes())
        written[f"{name}.counts"] = ("F32", (1, 1), np.ones(1, np.float32).tobytes())
    folder = tmp_path / "secret"
    folder.mkdir()
    write_file(folder / "im.gguf", {
        "general.type": string("imatrix"), "imatrix.chunk_count": u32(1), "imatrix.chunk_size": u32(512),
        "imatrix.datasets": strings(["/home/secret/calibration.txt"])}, written)
    ggufx.quantize(tmp_path / "a.gguf", tmp_path / "q.gguf", "q4_k_m", imatrix=folder / "im.gguf")
    found = read_gguf(tmp_path / "q.gguf").metadata
    assert found["quantize.imatrix.file"].data == "im.gguf"
    assert found["quantize.imatrix.dataset"].data == "calibration.txt"
    assert "secret" not in told(tmp_path / "q.gguf")
