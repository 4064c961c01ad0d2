"""The memory of a context is what llama.cpp allocates for it."""

from pathlib import Path

import pytest
from zoo import peers

import ggufx

MODELS = (
    "llama", "gemma2", "gemma3", "gemma3n", "gemma4", "gptoss", "cohere2", "llama4", "mimo2", "t5",
    "bert",
    "deepseek2", "deepseek32",
    "mamba", "mamba2", "rwkv6", "rwkv7", "qwen35", "qwen3next", "lfm2", "jamba", "granite-h", "bamba",
    "falcon-h1", "nemotron-h",
)


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=f"no llama.cpp: {peers.missing_runtime()}")
@pytest.mark.parametrize("name", MODELS)
def test_caches_take_what_llama_cpp_says(zoo, tmp_path: Path, name: str):
    ggufx.hf_to_gguf(zoo(name), tmp_path / "a.gguf")
    found = ggufx.inspect(tmp_path / "a.gguf")
    for length in (1024, 8192):
        assert found.memory(length).cache / 2**20 == pytest.approx(peers.cache_mebibytes(tmp_path / "a.gguf", length), abs=0.03)
    assert ggufx.inspect(zoo(name)).memory(8192).cache == found.memory(8192).cache
