"""PLaMo's tokenizer.jsonl: read, kept, and refused where it is something else."""

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.tokenizer.own_keys import residue
from ggufx.converters.tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from ggufx.converters.tokenizer.to_hf import tokenizer_files
from zoo.kinds import vocab


def folder(path: Path, text: str) -> TokenizerResult:
    path.mkdir()
    (path / "tokenizer.jsonl").write_text(text, encoding="utf-8")
    (path / "tokenizer_config.json").write_text('{"bos_token": "<|plamo:bos|>"}')
    return tokenizer_metadata(path, arch="plamo2", hf_class="Plamo2ForCausalLM", config={}, vocab_size=600)


LINES = vocab("plamo2").texts["tokenizer.jsonl"]


@pytest.mark.parametrize("text", [
    LINES,
    LINES.removesuffix("\n"),
    LINES.replace("-8.0", "-8.1"),  # no float32
    LINES.replace("0.0", "0"), LINES.replace(", ", ","),  # spelled in another way
    "".join(json.dumps(json.loads(line)) + "\n" for line in LINES.split("\n")[:-1]),  # in ASCII alone
    LINES.replace('"the"', '"th\u2028e"'),  # a character that also ends lines
])
def test_every_spelling_comes_back(tmp_path: Path, text: str):
    made = folder(tmp_path / "m", text)
    kept = residue(made.source, made.metadata)
    assert tokenizer_files({**made.metadata, **kept}, arch="plamo2").files["tokenizer.jsonl"] == text.encode()
    assert sum(len(json.dumps(str(value.data))) for value in kept.values()) < 2 * len(text)


@pytest.mark.parametrize(("line", "said"), [
    ('{"a": 1}', "line 1: not a list of a text, its score and its kind"), ("[1, 2.0]", "line 1"), ('["a", NaN]', "line 1"),
    ('["a", true]', "line 1"), ('["a", 0.0, 3]', "line 1"), ("x", "line 1"), ("", "line 1"),
    ("\n".join(f'["{i}", 0.0]' for i in range(601)), "more tokens than the model has"),
])
def test_what_is_no_vocabulary_is_named(tmp_path: Path, line: str, said: str):
    with pytest.raises(InputError, match=said):
        folder(tmp_path / "m", line)
