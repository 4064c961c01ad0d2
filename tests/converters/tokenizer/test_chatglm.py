"""ChatGLM's SentencePiece vocabulary: texts of the first ids, control tokens behind the pieces, fillers up to the size."""

import json
from pathlib import Path

import pytest
from ggufx.converters.tokenizer.own_keys import residue
from ggufx.converters.tokenizer.protobuf import read_model
from ggufx.converters.tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from ggufx.converters.tokenizer.to_hf import tokenizer_files
from zoo.kinds import vocab

_FILE = vocab("llama-spm").model
assert _FILE is not None
MODEL = _FILE[1]
PIECES = read_model(MODEL, Path("tokenizer.model")).pieces
BEHIND = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
SIZE = len(PIECES) + len(BEHIND) + 3


def forward(path: Path, files: dict[str, bytes]) -> TokenizerResult:
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    config = {"eos_token_id": 2, "pad_token_id": 0}
    return tokenizer_metadata(path, arch="chatglm", hf_class="ChatGLMModel", config=config, vocab_size=SIZE)


def published(name: str) -> dict[str, bytes]:
    return {"tokenizer.model": MODEL, "tokenizer_config.json": json.dumps({"name_or_path": name}).encode()}


@pytest.fixture
def made(tmp_path: Path) -> TokenizerResult:
    return forward(tmp_path / "made", published("THUDM/chatglm3-6b"))


def test_pieces_control_tokens_fillers(made: TokenizerResult):
    kv = {key.removeprefix("tokenizer.ggml."): value.data for key, value in made.metadata.items()}
    fillers = [f"[PAD{SIZE - n}]" for n in (3, 2, 1)]
    assert list(kv["tokens"]) == ["<unk>", "<bos>", "<eos>", *(text for text, _, _ in PIECES[3:]), *BEHIND, *fillers]
    assert list(kv["token_type"]) == [kind for _, _, kind in PIECES] + [3] * 9 + [5] * 3
    assert list(kv["scores"]) == [score for _, score, _ in PIECES] + [0.0] * 12
    names = ("model", "pre", "add_bos_token", "eos_token_id", "padding_token_id")
    assert [kv[name] for name in names] == ["llama", "chatglm-spm", False, 2, 0]
    assert not made.notes


def test_chatglm2_is_said_to_have_fewer(tmp_path: Path):
    assert "ChatGLM2 has none for roles" in forward(tmp_path / "m", published("THUDM/chatglm2-6b")).notes[0]


def test_the_files_come_back(made: TokenizerResult):
    kept = residue(made.source, made.metadata)
    assert tokenizer_files({**made.metadata, **kept}, arch="chatglm").files == published("THUDM/chatglm3-6b")


def test_a_model_made_of_the_standard_keys_gives_the_same_vocabulary(tmp_path: Path, made: TokenizerResult):
    files = tokenizer_files(made.metadata, arch="chatglm").files
    again = forward(tmp_path / "again", {"tokenizer.model": files["tokenizer.model"]})
    for name in ("tokens", "token_type"):
        assert list(again.metadata[f"tokenizer.ggml.{name}"].data) == list(made.metadata[f"tokenizer.ggml.{name}"].data)
