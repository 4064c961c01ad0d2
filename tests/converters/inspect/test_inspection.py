"""What a look at a file or a folder tells, and the memory of a context."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.inspect.inspection import inspect
from ggufx.converters.inspect.memory import cache_bytes
from ggufx.converters.io.values import string, u32
from zoo.changed import change_gguf
from zoo.quantized import write_legacy

import ggufx


@pytest.fixture(scope="module")
def gguf(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "a.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), path, outtype="q8_0")
    return path


def test_a_file_and_its_folder_tell_the_same(zoo, gguf: Path):
    file, folder = inspect(gguf), inspect(zoo("llama-256"))
    assert (file.form, folder.form) == ("gguf", "checkpoint")
    for found in (file, folder):
        assert found.architecture == "llama"
        assert found.parameters == 896_512
        assert found.context_length == 256
        assert list(found.templates) == ["default"]
        assert found.memory().cache == 2 * 2 * (64 + 64) * 2 * 256  # layers, heads, keys and values, F16, tokens
        assert found.memory(64).cache == found.memory().cache // 4
    assert file.file_type == "Q8_0"
    assert file.types == {"Q8_0": (15, file.types["Q8_0"][1]), "F32": (5, 5 * 4 * 256)}
    assert file.bits_per_weight == pytest.approx(8.534)
    assert folder.types == {"BF16": (20, 2 * 896_512)}
    assert len(repr(file)) < 300


@pytest.mark.parametrize(("model", "expected"), [
    ("gemma3", lambda k: _windowed(k)),
    ("deepseek2-lite", lambda k: 2 * 4096 * k["deepseek2.block_count"] * k["deepseek2.attention.key_length"]),
    ("bert", lambda k: 0),
])
def test_memory_knows_windows_latents_and_encoders(zoo, model: str, expected):
    """The cache at 4096 tokens."""
    found = inspect(zoo(model))
    assert found.memory(4096).cache == expected(found.keys)


def _windowed(k: dict) -> int:
    """Every sixth layer sees all tokens."""
    heads = k["gemma3.attention.head_count_kv"]
    per_token = 2 * heads * (k["gemma3.attention.key_length"] + k["gemma3.attention.value_length"])
    rows = -(-(k["gemma3.attention.sliding_window"] + 512) // 256) * 256
    return per_token * sum(rows if (block + 1) % 6 else 4096 for block in range(k["gemma3.block_count"]))


def test_recurrent_layers_take_the_same_at_any_length(zoo):
    found = inspect(zoo("qwen35"))
    linear = found.layers.count("linear_attention")
    assert linear
    at = [found.memory(n).cache for n in (1024, 2048, 3072)]
    assert at[2] - at[1] == at[1] - at[0] > 0
    assert at[0] - (at[1] - at[0]) > 0  # what no token adds


@pytest.mark.parametrize("change", [
    {"block_count": 10**12}, {"block_count": -1}, {"block_count": "x"}, {"attention.head_count": None},
    {"embedding_length": float("inf")},
    {"attention.head_count_kv": []},
])
def test_a_strangers_numbers_do_no_harm(change: dict):
    keys = {"general.architecture": "llama", "llama.block_count": 2, "llama.attention.head_count": 4,
            "llama.embedding_length": 64}
    assert cache_bytes(keys, None, 10) == 2 * 4 * (16 + 16) * 2 * 10
    assert cache_bytes(keys | {f"llama.{k}": v for k, v in change.items()}, None, 10) is None


def test_parts_of_a_split_model_are_named(gguf: Path, tmp_path: Path):
    """From any part; a part whose others are missing is shown alone, with a note."""
    held = ["token_embd.weight", "output_norm.weight"]

    def part(number: int):
        def keep(tensors):
            for name in list(tensors):
                if (name in held) != (number == 0):
                    del tensors[name]

        def keys(metadata):
            if number:
                metadata.clear()
            metadata.update({"split.no": u32(number), "split.count": u32(2), "split.tensors.count": u32(20)})

        return change_gguf(gguf, tmp_path / f"m-0000{number + 1}-of-00002.gguf", keep, keys)

    first, second = part(0), part(1)
    for path in (first, second):
        found = inspect(path)
        assert [f.name for f in found.files] == [first.name, second.name]
        assert found.parameters == 896_512
        assert found.architecture == "llama"
    first.unlink()
    alone = inspect(second)
    assert len(alone.tensors) == 18
    assert "one of 2 parts, alone" in alone.notes[0]


def test_importance_matrices_of_both_kinds(gguf: Path, tmp_path: Path):
    write_legacy(tmp_path / "im.dat", {"blk.0.attn_q.weight": np.ones((1, 256), np.float32)})
    found = inspect(tmp_path / "im.dat")
    assert found.form == "legacy imatrix"
    assert found.facts["entries"] == 1

    def entries(tensors):
        tensors.clear()
        for name, count in (("a.in_sum2", 8), ("a.counts", 1)):
            tensors[name] = "F32", (count,), np.ones(count, np.float32).view(np.uint8)

    path = change_gguf(gguf, tmp_path / "im.gguf", entries, lambda m: m.update({"general.type": string("imatrix"),
                                                                               "imatrix.chunk_count": u32(7)}))
    found = inspect(path)
    assert (found.form, found.facts["entries"], found.facts["chunks"]) == ("imatrix", 1, 7)
    (tmp_path / "other").write_bytes(b"neither")
    with pytest.raises(InputError, match="GGUF"):
        inspect(tmp_path / "other")


def test_a_look_imports_nothing_heavy(zoo, gguf: Path):
    code = ("import sys, ggufx\nggufx.inspect(sys.argv[1]).to_json()\n"
            "print([m for m in ('torch', 'numba', 'transformers', 'tokenizers', 'gguf') if m in sys.modules])")
    for path in (gguf, zoo("llama-256")):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr
