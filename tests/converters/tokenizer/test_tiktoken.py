"""Rank files: the key-values of llama.cpp's converter, the ids of tiktoken's algorithm, and damage that is named."""

from __future__ import annotations

import base64
import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.tokenizer import tokenizer_files, tokenizer_metadata
from ggufx.converters.tokenizer.bpe import BYTE_TO_CHAR
from ggufx.converters.tokenizer.rules import RULES
from vocabularies.cases import plain, through_file
from vocabularies.judges import converter_key_values, missing_converter

T = "tokenizer.ggml."
WORDS = (b"the", b" the", b"ing", b" a", b"\n\n", "é".encode(), " ünï".encode(), b"abc", b"  ", b"    ")


def ranks() -> list[bytes]:
    """All bytes in an order of their own, and pieces that merges of earlier ones build."""
    draw = random.Random(4)
    pieces = [bytes([i]) for i in range(256)]
    draw.shuffle(pieces)
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
    return pieces


def write(folder: Path, name: str, lines: list[bytes] | None = None, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = [base64.b64encode(piece) + f" {rank}".encode() for rank, piece in enumerate(ranks())]
    (folder / name).write_bytes(b"\n".join(made if lines is None else lines) + b"\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "x", **config}))
    (folder / "config.json").write_text("{}")
    return folder


def convert(folder: Path, arch: str, size: int = 600, **options):
    return tokenizer_metadata(folder, arch=arch, hf_class="X", config={}, vocab_size=size, **options)


def named(arch: str) -> dict[str, int]:
    return {text: len(ranks()) + i for i, text in enumerate(RULES[arch].ranks.special)}


KIMI = {"added_tokens_decoder": {str(len(ranks()) + i): {"content": text, "special": True}
                                 for i, text in ((0, "[BOS]"), (1, "[EOS]"), (2, "<|im_end|>"))},
        "bos_token": "[BOS]", "eos_token": "[EOS]"}
CASES = [("qwen", "QWenLMHeadModel", "qwen.tiktoken", {}), ("hunyuan-moe", "HunYuanMoEV1ForCausalLM", "hy.tiktoken", {}),
         ("kimi-linear", "KimiLinearForCausalLM", "tiktoken.model", KIMI)]


@pytest.mark.skipif(missing_converter() is not None, reason=str(missing_converter()))
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_key_values_equal_those_of_llama_cpp(tmp_path: Path, case: tuple):
    arch, hf_class, name, config = case
    folder = write(tmp_path, name, **config)
    size = 600
    special = named(arch)
    if arch == "kimi-linear":
        texts = {int(i): token["content"] for i, token in KIMI["added_tokens_decoder"].items()}
        special = {texts.get(i, f"<|reserved_token_{i}|>"): i for i in range(len(ranks()), len(ranks()) + 258)}
    theirs, = converter_key_values([{
        "folder": str(folder), "hf_class": hf_class, "config": {"vocab_size": size, "hidden_size": 1}, "special": special,
        "pre": RULES[arch].ranks.pre, "eos": special.get("[EOS]")}])
    ours = {key: [value.type.name, plain(value)] for key, value in convert(folder, arch, size).metadata.items()}
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    # It numbers Hunyuan's BOS for the published vocabulary alone, and finds Kimi's BOS nowhere.
    assert different <= ({T + "bos_token_id"} if arch != "qwen" else set()), {k: theirs.get(k) for k in different}
    assert different == set() or ours[T + "bos_token_id"][1] == special["<|bos|>" if arch == "hunyuan-moe" else "[BOS]"]


def tiktoken_ids(text: bytes, known: dict[bytes, int]) -> list[int]:
    """The algorithm of tiktoken on one piece of text: merge the pair of the lowest rank while there is one."""
    parts = [text[i:i + 1] for i in range(len(text))]
    while True:
        pairs = [(known[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in known]
        if not pairs:
            return [known[part] for part in parts]
        _, i = min(pairs)
        parts[i:i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize("arch", ["qwen", "llama"])
def test_the_ids_are_tiktoken_s(tmp_path: Path, arch: str):
    """With one merge a piece, and with every way: `tokenizers` on the file that comes back agrees."""
    from tokenizers import Tokenizer

    folder = write(tmp_path / "m", "qwen.tiktoken" if arch == "qwen" else "tokenizer.model")
    metadata = through_file(convert(folder, arch).metadata, arch, tmp_path / "v.gguf")
    tokenizer = Tokenizer.from_str(tokenizer_files(metadata, arch=arch).files["tokenizer.json"].decode())
    known = {piece: rank for rank, piece in enumerate(ranks())}
    draw = random.Random(8)
    for _ in range(200):
        word = "".join(draw.choice(("th", "e", "abc", "é", "in", "g", "ünï", "a")) for _ in range(draw.randint(1, 6)))
        assert tokenizer.encode(word, add_special_tokens=False).ids == tiktoken_ids(word.encode(), known), word


def test_special_tokens_follow_the_pieces(tmp_path: Path):
    metadata = convert(write(tmp_path, "tokenizer.model"), "llama").metadata
    tokens, n = plain(metadata[T + "tokens"]), len(ranks())
    assert tokens[0] == BYTE_TO_CHAR[ranks()[0][0]]
    assert (tokens[n], tokens[n + 9], tokens[n + 255], tokens[-1]) == (
        "<|begin_of_text|>", "<|eot_id|>", "<|reserved_special_token_247|>", "[PAD599]")
    assert len(RULES["llama"].ranks.special) == 256
    assert metadata[T + "pre"].data == "llama-bpe"
    assert convert(tmp_path, "llama", pre="qwen2").metadata[T + "pre"].data == "qwen2"


def test_an_architecture_without_published_rank_files_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedError, match="special tokens that go with it"):
        convert(write(tmp_path, "x.tiktoken"), "gemma3")


@pytest.mark.parametrize(("lines", "said"), [
    ([b"!! 0"], "line 1"), ([b"YQ== 0", b"YQ== 1"], "line 2"), ([b"YQ== 0 1"], "line 1"), ([b"YQ== x"], "line 1"),
    ([b"YQ== 1"], "without a gap"), ([], "without a gap"), ([b"YQ=="], "line 1"),
    ([base64.b64encode(b"a" * 20_000) + b" 0"], "too long"),
])
def test_damaged_files_are_named(tmp_path: Path, lines: list[bytes], said: str):
    with pytest.raises(InputError, match=said):
        convert(write(tmp_path, "qwen.tiktoken", lines), "qwen")


def test_more_pieces_than_the_model_and_two_files_are_refused(tmp_path: Path):
    folder = write(tmp_path, "qwen.tiktoken")
    with pytest.raises(InputError, match="more pieces"):
        convert(folder, "qwen", 100)
    write(tmp_path, "other.tiktoken")
    with pytest.raises(InputError, match="several rank files"):
        convert(folder, "qwen")
