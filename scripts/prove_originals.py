"""Prove that original-to-hf gives what transformers' own script makes of Meta's layout, and hf-to-gguf the file of either.

    scripts/prove_originals.py transformers-4.x/src/transformers/models/llama/convert_llama_weights_to_hf.py

transformers 5 no longer ships the script; any version's is taken. It rounds to bfloat16, so the models are in that. Exit status
1 if a tensor, a setting or a token differs.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

READ = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps", "num_key_value_heads",
        "vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id")


def theirs(script: Path, folder: Path, out: Path, version: str, ranks: int, rows: int) -> None:
    spec = importlib.util.spec_from_file_location("convert", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_model(out, folder, llama_version=version, vocab_size=rows, num_shards=ranks)


def proved(script: Path, work: Path, version: str, ranks: int) -> list[str]:
    """What differs of a tiny model of this version over so many files."""
    import torch
    from safetensors.torch import load_file
    from zoo import originals
    from zoo.build import build

    import ggufx

    name = "llama" if version.startswith("3") else "llama-mha"
    source = originals.padded(build(name, work / "zoo"), work / "padded", 1024)
    folder = originals.meta(source, work / "m", ranks, by_columns=version < "3", params={
        "norm_eps": 1e-6 if version == "1" else 1e-5})
    for file in folder.glob("*.pth"):
        torch.save({name: tensor.bfloat16() for name, tensor in torch.load(file).items()}, file)
    if version < "3":
        originals.copy(source, folder, "tokenizer.model")
    else:
        originals.ranks_file(source, folder / "tokenizer.model")
    rows = json.loads((source / "config.json").read_text())["vocab_size"]
    theirs(script, folder, work / "theirs", version, ranks, rows)
    ggufx.original_to_hf(folder, work / "ours", llama_version=version)
    one, two = (load_file(work / side / "model.safetensors") for side in ("ours", "theirs"))
    said = [f"{name}: tensor" for name in sorted(one.keys() | two.keys())
            if name not in one or name not in two or not torch.equal(one[name], two[name])]
    one, two = (json.loads((work / side / "config.json").read_text()) for side in ("ours", "theirs"))
    ids = ("bos_token_id", "eos_token_id") if version >= "3" else ()  # theirs are those of the published vocabulary
    return said + [f"{key}: {one.get(key)}, theirs {two.get(key)}" for key in READ
                   if key not in ids and one.get(key) != two.get(key)]


def main() -> int:
    script, wrong = Path(sys.argv[1]), 0
    for version in ("1", "2", "3"):
        for ranks in (1, 2):
            with tempfile.TemporaryDirectory() as work:
                found = proved(script, Path(work), version, ranks)
            wrong += len(found)
            print(f"Llama {version}, {ranks} ranks: {'; '.join(found) or 'the same'}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
