"""No path of the machine in any free text, whichever way: cards, settings, adapters, importance matrices, files of others."""

import json

from ggufx.converters.io.values import ValueType, array, string
from zoo.adapters import make_adapter
from zoo.files import changed_copy, read_file, write_file
from zoo.quantized import importance, write_legacy

import ggufx

HOME = "/home/somebody"
CARD = f"""---
base_model: {HOME}/models/base
datasets:
- {HOME}/data/set.json
tags:
- base_model:adapter:{HOME}/models/base
- plain
language: en
---
# A model

Trained from {HOME}/runs/7/checkpoint.
"""
FREE = {
    "general.name": f"{HOME}/m", "general.description": f"merged from {HOME}/a and {HOME}/b",
    "general.source.url": f"file://{HOME}/m", "general.base_model.0.name": f"{HOME}/models/base",
    "general.base_model.0.repo_url": f"{HOME}/models/base", "general.dataset.0.name": f"{HOME}/data/set",
    "quantize.imatrix.file": f"{HOME}/imatrix.dat", "quantize.imatrix.dataset": f"{HOME}/calibration.txt",
}


def tell(keys) -> list[str]:
    """The keys whose text has the path."""
    return [name for name, value in keys.items() if HOME in str(value.data) or "/tmp/" in str(value.data)]


def telling(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file() and HOME.encode() in path.read_bytes()]


def test_a_checkpoint_and_its_importance_matrix(zoo, tmp_path):
    base = changed_copy(zoo("llama-256"), tmp_path / "base", _name_or_path=f"{HOME}/models/base")
    (base / "README.md").write_text(CARD)
    for name in ("tokenizer_config.json", "generation_config.json"):
        said = json.loads((base / name).read_text()) if (base / name).exists() else {}
        (base / name).write_text(json.dumps(said | {"name_or_path": f"{HOME}/models/base", "_name_or_path": f"{HOME}/x"}))
    ggufx.hf_to_gguf(base, tmp_path / "plain.gguf")
    write_legacy(tmp_path / "imatrix.dat", importance(tmp_path / "plain.gguf"), dataset=f"{HOME}/calibration.txt")
    ggufx.hf_to_gguf(base, tmp_path / "a.gguf", outtype="q4_k_m", imatrix=tmp_path / "imatrix.dat")
    assert not tell(read_file(tmp_path / "a.gguf")[0])
    assert read_file(tmp_path / "a.gguf")[0]["quantize.imatrix.dataset"].data == "calibration.txt"
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert not telling(tmp_path / "back")


def test_a_file_of_others(zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "plain.gguf", plain=True)
    keys, tensors = read_file(tmp_path / "plain.gguf")
    keys |= {name: string(text) for name, text in FREE.items()}
    keys["general.tags"] = array(ValueType.STRING, [f"base_model:adapter:{HOME}/models/base", "plain"])
    keys["imatrix.datasets"] = array(ValueType.STRING, [f"{HOME}/calibration.txt"])
    write_file(tmp_path / "others.gguf", keys, tensors)
    ggufx.gguf_to_hf(tmp_path / "others.gguf", tmp_path / "back")
    assert not telling(tmp_path / "back")
    assert "plain" in (tmp_path / "back" / "README.md").read_text()


def test_an_adapter_there_and_back(zoo, tmp_path):
    base = changed_copy(zoo("llama"), tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": ["q_proj"]})
    said = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(said | {"base_model_name_or_path": f"{HOME}/models/base"}))
    (adapter / "README.md").write_text(CARD)
    for plain in (False, True):
        ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "a.gguf", plain=plain, force=True)
        assert not tell(read_file(tmp_path / "a.gguf")[0])
        ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=base, force=True)
        assert not telling(tmp_path / "back")
    ggufx.merge_lora(adapter, tmp_path / "merged", base=base)
    assert not telling(tmp_path / "merged")
