"""`tokenizer.*` -> Hugging Face files, for files that carry nothing of ours."""

from __future__ import annotations

import json
import logging
import random
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import Metadata, Value, ValueType, array, boolean, string, strings, u32
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.tokenizer import tokenizer_files
from ggufx.converters.tokenizer.bpe import BYTE_TO_CHAR
from ggufx.converters.tokenizer.pre import pre_table, probes
from vocabularies.cases import FIRST, plain, through_file, write_files
from vocabularies.judges import missing_runtime, runtime_ids
from zoo.texts import HARD_TEXTS

T = "tokenizer.ggml."
SHARED = Path(__file__).parents[4] / "shared" / "data" / "vocab"
REAL = sorted(SHARED.glob("*.gguf"))


def load(files: dict[str, bytes], folder: Path, caplog: pytest.LogCaptureFixture):
    """What AutoTokenizer makes of the files, without a word."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    write_files(files, folder)
    transformers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not caplog.records, caplog.text
    return tokenizer


@pytest.mark.skipif(not REAL, reason="no real vocabularies in ../shared/data/vocab")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_real_vocabularies_give_the_expected_ids(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    metadata = read_gguf(path).metadata
    tokenizer = load(tokenizer_files(metadata, arch=metadata["general.architecture"].data).files, tmp_path, caplog)
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    rows = path.with_suffix(".gguf.out").read_text().split("\n")
    expected = [[int(token) for token in row.split()] for row in rows[:len(texts)]]
    assert [tokenizer.encode(text, add_special_tokens=False) for text in texts] == expected
    tokens = list(metadata[T + "tokens"].data)
    assert len(tokenizer) <= len(tokens)
    assert all(tokens[i] == text or path.stem.endswith("bert-bge") for text, i in tokenizer.get_vocab().items())
    assert not [text for text in tokenizer.get_vocab() if text.startswith("[PAD") and text != "[PAD]"]
    for name in ("bos", "eos", "unk", "pad"):
        key = {"unk": "unknown", "pad": "padding"}.get(name, name)
        stored = metadata.get(f"{T}{key}_token_id")
        if stored is not None and getattr(tokenizer, f"{name}_token_id") is not None:
            assert getattr(tokenizer, f"{name}_token_id") == stored.data


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
def test_ids_of_the_zoo_come_back(case, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Without ggufx.* keys the structure comes from kind and name: the ids are those of tokenizer.json."""
    from tokenizers import Tokenizer

    source = case.write(tmp_path / "source")
    metadata = through_file(case.forward(source).metadata, case.arch, tmp_path / "v.gguf")
    made = load(tokenizer_files(metadata, arch=case.arch).files, tmp_path / "made", caplog)
    given = Tokenizer.from_file(str(source / "tokenizer.json"))
    names = [token.content for token in given.get_added_tokens_decoder().values()]
    texts = [*HARD_TEXTS, *names, *(f"a{name}b {name}" for name in names)]
    different = [text for text in texts if made.encode(text) != given.encode(text).ids]
    assert len(made) == given.get_vocab_size()
    # The runtime cuts runs of spaces out before anything else, Gemma's tokenizer.json merges them; and it always puts
    # a space before a SentencePiece text, where newer files put one only before text that has none.
    if case.kind == "qwen35":  # llama.cpp's structure is taken there, without NFC
        different = [text for text in different if unicodedata.is_normalized("NFC", text)]
    excused = {"gemma": "  ", "gemma-json": "  ", "llama-spm-json": " "}.get(case.kind)
    assert [text for text in different if not (excused and excused in text) and "▁▁" not in text] == []


MERGED = ["the", "ing", "tion", "12", "123", "456", "  ", "\n\n", "don't", "'s", "Hello", "éa", "日本", "中文", "Мир", "...",
          "==", "\u0301e", "aB", "USA", " a", "a ", "½", "٣٤", "x\n", "!\n", "/\n", "'S", "ＡＢ", "\u3000", "かな", "ไทย"]


def trained() -> tuple[list[str], list[str]]:
    """A byte-level vocabulary whose merges reach across any cut, so that a wrong cut changes ids."""
    rng = random.Random(5)
    texts = [*MERGED, *probes(), *HARD_TEXTS]
    words = ["".join(BYTE_TO_CHAR[byte] for byte in text.encode("utf-8")) for text in texts if text]
    tokens = list(BYTE_TO_CHAR.values())
    merges, known = [], set(tokens)
    rows = [list(word) for word in words]
    for _ in range(700):
        counts: dict[tuple[str, str], int] = {}
        for row in rows:
            for pair in pairwise(row):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts.values())
        pair = rng.choice(sorted(pair for pair, count in counts.items() if count == best))
        merges.append(f"{pair[0]} {pair[1]}")
        if pair[0] + pair[1] not in known:
            tokens.append(pair[0] + pair[1])
            known.add(pair[0] + pair[1])
        for row in rows:
            i = 0
            while i < len(row) - 1:
                if (row[i], row[i + 1]) == pair:
                    row[i:i + 2] = [pair[0] + pair[1]]
                i += 1
    return tokens, merges


def vocabulary(pre: str | None, tokens: list[str], merges: list[str], kind: str = "gpt2", **more: Value) -> Metadata:
    types = [3 if text in ("<bos>", "<eos>") else 4 if text == "<user>" else 1 for text in tokens]
    metadata: Metadata = {T + "model": string(kind), **({T + "pre": string(pre)} if pre else {}),
                          T + "tokens": strings(tokens), T + "token_type": array(ValueType.INT32, types),
                          T + "merges": strings(merges), T + "bos_token_id": u32(tokens.index("<bos>")),
                          T + "eos_token_id": u32(tokens.index("<eos>"))}
    return {**metadata, **{T + key: value for key, value in more.items()}}


@pytest.mark.skipif(missing_runtime() is not None, reason=str(missing_runtime()))
def test_every_pre_name_gives_the_ids_of_llama_cpp(tmp_path: Path):
    """All 91 names and none, with control tokens read as such and not, with BOS and EOS as the runtime adds them."""
    from tokenizers import Tokenizer

    tokens, merges = trained()
    tokens += ["<bos>", "<eos>", "<user>", "Ġunreached", "[PAD999]"]
    spaced = ["<bos>", "<eos>", "<user>", *(f"<0x{i:02X}>" for i in range(256)), *map(chr, range(33, 127)), "▁", "é",
              "日", "th", "he", "the", "▁t", "▁the", "\n", "\n\n", "▁▁"]
    spaced_merges = ["t h", "h e", "th e", "▁ t", "▁t he", "▁ ▁", "\n \n"]
    words = ["<bos>", "<eos>", "<user>", *map(chr, range(33, 127)), "th", "the"]
    texts = [text for text in (*probes(), *HARD_TEXTS, "a<user>b <bos> c", "<eos>") if "\0" not in text]
    requests, files = [], []
    for name in (*pre_table(), None):
        row = pre_table().get(name or "default")
        if name == "whitespace":
            metadata = vocabulary(name, words, ["t h", "th e"], "whitespace", unknown_token_id=u32(0))
        elif row.byte_fallback:
            metadata = vocabulary(name, spaced, spaced_merges, "gemma4" if name == "gemma4" else "gpt2")
        else:
            metadata = vocabulary(name, tokens, merges, add_eos_token=boolean(True))
        path = tmp_path / f"{name}.gguf"
        metadata = through_file(metadata, "llama", path)
        made = tokenizer_files(metadata, arch="llama", structure="runtime").files
        for special in (True, False):
            known = {"whitespace": {*words, " ", "\n", "\t"}}.get(name)  # it drops what it does not know
            some = [text for text in texts if known is None or set(text) <= known]
            requests.append({"path": str(path), "texts": some, "special": special, "add": special})
            files.append((name, special, made))
    wrong = {}
    for request, ids, (name, special, made) in zip(requests, runtime_ids(requests), files, strict=True):
        tokenizer = Tokenizer.from_str(made["tokenizer.json"].decode())
        tokenizer.encode_special_tokens = not special
        ours = [tokenizer.encode(text, add_special_tokens=special).ids for text in request["texts"]]
        different = [text for text, a, b in zip(request["texts"], ours, ids, strict=True) if a != b]
        if different:
            wrong[name, special] = different[:3]
    assert not wrong, wrong


def rwkv_vocabulary() -> Metadata:
    """All bytes, some characters and words, tokens that end inside a character, spelled as GGUF spells them."""
    longer = ["the", "th", " the", "  ", "\n\n", "é", "日本", "it's", '"quote', "\\n", "a[0]", "^$", "x-y", "&&", "#|~"]
    pieces = [*(bytes([i]) for i in range(256)), *(text.encode() for text in longer), "日".encode()[:2], b" \xe6\x97"]
    tokens = ["<s>", *(repr(piece)[2:-1] for piece in pieces), "[PAD300]"]
    return {T + "model": string("rwkv"), T + "tokens": strings(tokens), T + "bos_token_id": u32(0),
            T + "token_type": array(ValueType.INT32, [3] + [1] * len(pieces) + [5])}


@pytest.mark.skipif(missing_runtime() is not None, reason=str(missing_runtime()))
def test_rwkv_finds_the_longest_token_as_llama_cpp_does(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    metadata = through_file(rwkv_vocabulary(), "llama", tmp_path / "v.gguf")
    tokenizer = load(tokenizer_files(metadata, arch="rwkv7").files, tmp_path / "made", caplog)
    own = ("thethe  the\n\n\n日日本本 日", "it's \"quoted\" \\n\\ a[0]a[1]^$$x-y-x&&&#|~")
    texts = [text for text in (*probes(), *HARD_TEXTS, *own) if "<s>" not in text and "\0" not in text]
    request = {"path": str(tmp_path / "v.gguf"), "texts": texts, "special": True, "add": False}
    assert [tokenizer.encode(text) for text in texts] == runtime_ids([request])[0]
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)
    assert tokenizer.encode("a<s>b") == [98, 0, 99]
    assert len(tokenizer) == 1 + 256 + 17


def test_rwkv_tokens_that_are_not_spelled_so_are_refused():
    metadata = rwkv_vocabulary()
    metadata[T + "tokens"] = strings([*list(metadata[T + "tokens"].data)[:-1], "\\xzz"])
    metadata[T + "token_type"] = array(ValueType.INT32, [1] * len(metadata[T + "tokens"].data))
    with pytest.raises(InputError, match="xzz"):
        tokenizer_files(metadata, arch="rwkv7")


def test_padding_and_broken_ids_leave_no_stray_token(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tokens = [*BYTE_TO_CHAR.values(), "ab", "<bos>", "[PAD258]", "<eos>", "[PAD260]", "[PAD261]"]
    metadata = vocabulary("gpt-2", tokens, ["a b"], padding_token_id=u32(999), mask_token_id=u32(261))
    metadata[T + "token_type"] = array(ValueType.INT32, [1] * 257 + [3, 5, 3, 4, 5])
    result = tokenizer_files(metadata, arch="gpt2")
    tokenizer = load(result.files, tmp_path, caplog)
    assert len(tokenizer) == 259
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (257, 259)
    assert tokenizer.pad_token is None
    assert max(tokenizer.get_vocab().values()) == 259
    assert tokenizer.encode("ab<eos>") == [256, 259]
    assert sum("is left out" in note for note in result.notes) == 2


def test_what_the_name_tells_and_what_the_runtime_does_are_both_to_be_had():
    tokens = [*BYTE_TO_CHAR.values(), "<bos>", "<eos>"]
    metadata = vocabulary("qwen2", tokens, [])
    own, runtime = (tokenizer_files(metadata, arch="qwen2", structure=kind) for kind in ("own", "runtime"))
    assert json.loads(own.files["tokenizer.json"])["normalizer"] == {"type": "NFC"}
    assert json.loads(runtime.files["tokenizer.json"])["normalizer"] is None
    assert "model's own" in own.notes[0]
    assert "llama.cpp's" in runtime.notes[0]


def test_templates_become_files():
    tokens = [*BYTE_TO_CHAR.values(), "<bos>", "<eos>"]
    metadata = vocabulary("gpt-2", tokens, [])
    metadata |= {"tokenizer.chat_template": string("{{ a }}"), "tokenizer.chat_template.rag": string("{{ b }}"),
                 "tokenizer.chat_template.../../x": string("{{ c }}"), "tokenizer.chat_templates": strings(["rag"])}
    files = tokenizer_files(metadata, arch="gpt2").files
    assert files["chat_template.jinja"] == b"{{ a }}"
    assert files["additional_chat_templates/rag.jinja"] == b"{{ b }}"
    assert not [name for name in files if ".." in name], "a template's name is no path"


def _broken(**changes: Value | None) -> Metadata:
    metadata = vocabulary("gpt-2", [*BYTE_TO_CHAR.values(), "<bos>", "<eos>"], [])
    for key, value in changes.items():
        metadata.pop(T + key, None)
        if value is not None:
            metadata[T + key] = value
    return metadata


@pytest.mark.parametrize(("changes", "said"), [
    ({"model": None}, "model is missing"), ({"model": u32(1)}, "model: wrong type"), ({"pre": u32(1)}, "pre: wrong type"),
    ({"tokens": None}, "no token"), ({"tokens": u32(1)}, "tokens: wrong type"),
    ({"tokens": array(ValueType.INT32, [1])}, "tokens: wrong type"), ({"tokens": strings([])}, "no token"),
    ({"token_type": array(ValueType.INT32, [1])}, "token_type: too short"),
    ({"token_type": strings(["a"])}, "token_type: wrong type"),
    ({"scores": array(ValueType.FLOAT32, [float("nan")] * 258)}, "not finite"),
    ({"scores": array(ValueType.FLOAT32, [0.0])}, "scores: too short"),
    ({"merges": array(ValueType.UINT8, [1])}, "merges: wrong type"), ({"bos_token_id": string("x")}, "bos_token_id"),
    ({"add_bos_token": u32(1)}, "add_bos_token: wrong type"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_key_values_are_named(changes: dict, said: str):
    with pytest.raises(InputError, match=said):
        tokenizer_files(_broken(**changes), arch="llama")


@pytest.mark.parametrize(("changes", "said"), [({"pre": string("qwen3")}, "qwen2"),
                                               ({"model": string("hybriddna")}, "hybriddna")])
def test_kinds_and_names_without_counterpart_are_refused(changes: dict, said: str):
    with pytest.raises(UnsupportedError, match=said):
        tokenizer_files(_broken(**changes), arch="llama")


@pytest.mark.parametrize(("changes", "pre", "like", "said"), [
    ({"pre": string("deepseek_llm")}, None, "deepseek-llm", "is read as 'deepseek-llm'"),
    ({"model": string("deepseek_coder"), "pre": None}, None, "deepseek-coder", "taken for gpt2"),
    ({"pre": string("stablelm")}, "stablelm2", "stablelm2", ""), ({"model": string("stablelm")}, "qwen2", "qwen2", "taken for"),
    ({"model": None}, "qwen2", "qwen2", "model is missing"), ({"pre": None}, None, "default", "--pre qwen2"),
    ({"pre": None}, "olmo", "olmo", ""), ({"pre": string("gpt-2")}, "olmo", "olmo", ""),
])
def test_vocabularies_of_2023_are_read_as_they_were_meant(changes: dict, pre: str | None, like: str, said: str):
    made = tokenizer_files(_broken(**changes), arch="qwen2", pre=pre)
    wanted = tokenizer_files(_broken(pre=string(like)), arch="qwen2")
    assert made.files == wanted.files
    assert any(said in note for note in made.notes) or not said


@pytest.mark.parametrize(("changes", "pre", "said"), [
    ({"pre": string("stablelm")}, None, "tokenizer.ggml.pre: .*stablelm2.*--pre NAME"),
    ({"model": string("stablelm")}, None, "tokenizer.ggml.model: kind .*--pre NAME"),
    ({"model": string("stablelm"), "merges": None}, "qwen2", "tokenizer.ggml.model: kind"),
    ({}, "qwen3", "did you mean .*qwen2"),
    ({"model": None}, None, "tokenizer.ggml.model is missing"),
])
def test_what_cannot_be_read_names_file_key_and_ways_on(changes: dict, pre: str | None, said: str):
    with pytest.raises((InputError, UnsupportedError), match=f"(?s)old.gguf: .*{said}.*--no-tokenizer"):
        tokenizer_files(_broken(**changes), arch="stablelm", pre=pre, file=Path("old.gguf"))


def test_a_conversion_goes_on_with_a_name_given_or_without_tokenizer(tmp_path: Path):
    path = tmp_path / "old.gguf"
    through_file(_broken(pre=string("stablelm")), "stablelm", path)
    with pytest.raises(UnsupportedError, match=r"old\.gguf: tokenizer\.ggml\.pre"):
        plan_gguf_to_hf(path, tmp_path / "out", HfOptions())
    named = plan_gguf_to_hf(path, tmp_path / "out", HfOptions(pre="stablelm2"))
    assert "tokenizer.json" in {output.path.name for output in named.outputs}
    without = plan_gguf_to_hf(path, tmp_path / "out", HfOptions(tokenizer=False))
    assert "tokenizer.json" not in {output.path.name for output in without.outputs}
    assert "the tokenizer is left out, as asked" in without.notes


def test_a_filler_as_end_of_text_is_called_that():
    metadata = _broken(eos_token_id=u32(257), tokens=strings([*BYTE_TO_CHAR.values(), "<bos>", "[PAD257]"]))
    assert any("eos_token_id 257 is '[PAD257]', which only fills" in note
               for note in tokenizer_files(metadata, arch="gpt2").notes)


def test_a_file_without_tokenizer_has_no_files():
    result = tokenizer_files({T + "model": string("none")}, arch="llama")
    assert result.files == {}
    assert result.notes == ["the file has no tokenizer"]


def test_a_sentencepiece_model_goes_with_its_vocabulary(tmp_path: Path):
    """sentencepiece reads it, and cuts text as tokenizer.json does."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from tokenizers import Tokenizer

    case = next(case for case in FIRST if case.kind == "llama-spm" and case.v4)
    metadata = case.forward(case.write(tmp_path)).metadata
    files = tokenizer_files(metadata, arch="llama").files
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(files["tokenizer.model"])
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    texts = [text for text in HARD_TEXTS if text and "\0" not in text and "<" not in text]
    assert [processor.encode(text) for text in texts] == [tokenizer.encode(text, add_special_tokens=False).ids
                                                          for text in texts]
    assert [processor.id_to_piece(i) for i in range(10)] == plain(metadata[T + "tokens"])[:10]
