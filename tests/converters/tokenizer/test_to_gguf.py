"""Hugging Face folder -> `tokenizer.*`: equal to llama.cpp's converter, and to what the tokenizer does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.io.values import ValueType, array, string
from ggufx.converters.tokenizer import tokenizer_files, tokenizer_metadata
from ggufx.converters.tokenizer.own_keys import residue
from ggufx.converters.tokenizer.vocabulary import TokenType
from vocabularies.cases import CASES, Case, plain, through_file, write_files
from vocabularies.judges import converter_key_values, missing_converter, missing_runtime, runtime_ids
from zoo.kinds import TEKKEN, vocab
from zoo.texts import HARD_TEXTS

T = "tokenizer.ggml."


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("vocabularies")


def case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


# Where the converter's result would tokenize otherwise than the model: key -> why ours differs.
DEVIATIONS = {
    "llama-spm-json": {T + "scores": "it writes -1000 for all: the runtime then merges from left to right"},
    "gemma-v5": {T + "tokens": "user-defined pieces of tokenizer.model are taken for normal ones",
                 T + "token_type": "the same"},
    "gemma-json": dict.fromkeys(
        (T + key for key in ("model", "scores", "merges", "add_space_prefix", "token_type", "pre", "tokens")),
        "it takes a SentencePiece vocabulary for byte-level BPE"),
    "gemma4": {T + "token_type": "special tokens without a name are taken for normal ones"},
    "xlmr-v": {T + "tokens": "it has no <mask> and numbers the padding from one less", T + "token_type": "no <mask>",
               T + "scores": "no <mask>"},
    "t5": dict.fromkeys((T + "tokens", T + "scores", T + "token_type"), "it reads no added tokens of tokenizer.json"),
    "minimax-m2-v4-MiniMaxText01": {"tokenizer.chat_template": "it puts another model's in the place of the folder's"},
    "modernbert": {T + "add_bos_token": "written first: another order"},
    "eurobert": {T + "add_bos_token": "written first: another order"},
    "xlmr-json": {T + "remove_extra_whitespaces": "it takes clean_up_tokenization_spaces for it"},
}


@pytest.mark.skipif(missing_converter() is not None, reason=str(missing_converter()))
def test_key_values_equal_those_of_llama_cpp(root: Path):
    """All cases in one process, which imports for seconds. Keys, their order, types and values."""
    requests = [{"folder": str(c.write(root / c.hf_class)), "hf_class": c.hf_class, "config": c.config,
                 "pre": vocab(c.kind).pre} for c in CASES]
    wrong = {}
    for c, request, theirs in zip(CASES, requests, converter_key_values(requests), strict=True):
        assert "error" not in theirs, (c.name, theirs)
        known = next((keys for start, keys in DEVIATIONS.items() if c.name.startswith(start)), {})
        metadata = c.forward(Path(request["folder"])).metadata
        ours = {key: [value.type.name, plain(value)] for key, value in metadata.items()}
        if T + "scores" in theirs:
            theirs[T + "scores"][1] = plain(array(ValueType.FLOAT32, theirs[T + "scores"][1]))
        differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        if differing - known.keys():
            wrong[c.name] = {key: (ours.get(key), theirs.get(key)) for key in differing - known.keys()}
        elif not known:
            assert list(ours) == list(theirs), c.name
    assert not wrong, wrong


@pytest.mark.skipif(missing_runtime() is not None, reason=str(missing_runtime()))
def test_llama_cpp_gives_the_ids_of_tokenizer_json(root: Path, tmp_path: Path):
    """Byte-level kinds whose structure the runtime has exactly, and scores made from merges."""
    from tokenizers import Tokenizer

    kinds = ("llama3", "gpt2", "phi4", "deepseek3", "smollm", "llama-spm", "phi3", "bert", "bert-cased", "bert-accents")
    cases = [c for c in CASES if c.kind in kinds and not c.v4]
    requests, expected = [], []
    for c in cases:
        folder = tmp_path / c.name
        shutil.copytree(c.write(root), folder)
        (folder / "tokenizer.model").unlink(missing_ok=True)
        path = tmp_path / f"{c.name}.gguf"
        named = {"general.name": string("phi-3")} if c.kind == "phi3" else {}  # by which the runtime knows its tokens
        through_file({**named, **c.forward(folder).metadata}, c.arch, path)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        names = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        texts = [text for text in (*HARD_TEXTS, *names, *(f"a{name}b {name} c" for name in names)) if "\0" not in text]
        if c.kind == "bert-accents":  # where accents stay, the dot of a small I does; the runtime has one small letter for each
            texts = [text for text in texts if "İ" not in text]
        requests.append({"path": str(path), "texts": texts, "special": True, "add": True})
        expected.append([tokenizer.encode(text).ids for text in texts])
    for c, request, ids, wanted in zip(cases, requests, runtime_ids(requests), expected, strict=True):
        different = [text for text, a, b in zip(request["texts"], ids, wanted, strict=True) if a != b]
        assert not different, (c.name, different[:5])


def test_padding_types_and_ids(root: Path):
    c = case("qwen2-v5-Qwen2ForCausalLM")
    metadata = c.forward(c.write(root)).metadata
    tokens, types = plain(metadata[T + "tokens"]), plain(metadata[T + "token_type"])
    assert len(tokens) == len(types) == c.size
    assert tokens[-1] == f"[PAD{c.size - 1}]"
    assert types[-1] == 5
    assert types[tokens.index("<|im_start|>")] == 3
    assert types[tokens.index("<think>")] == 4
    assert types[tokens.index("<|fim_prefix|>")] == 3, "looks special"
    assert metadata[T + "eos_token_id"].data == tokens.index("<|im_end|>")
    assert metadata[T + "pre"].data == "qwen2"
    assert T + "bos_token_id" not in metadata


def test_scores_follow_the_merges(root: Path):
    """As SentencePiece numbers them: the same order of merging as in the model that tokenizer.json was made of."""
    with_model, without = case("llama-spm-v5-LlamaForCausalLM"), case("llama-spm-json-v5-LlamaForCausalLM")
    a, b = (plain(c.forward(c.write(root)).metadata[T + "scores"]) for c in (with_model, without))
    normal = range(259, vocab("llama-spm-json").size)
    assert [a[i] for i in normal] == [b[i] for i in normal]


def test_templates_are_carried_and_named_ones_sorted(tmp_path: Path, root: Path):
    c = case("qwen35-v5-Qwen3_5ForConditionalGeneration")
    shutil.copytree(c.write(root), tmp_path / "m")
    extra = tmp_path / "m" / "additional_chat_templates"
    (extra / "rag-2.jinja").write_text("{{ x }}\r\n", newline="")
    metadata = c.forward(tmp_path / "m").metadata
    assert metadata["tokenizer.chat_templates"].data == ["rag_2", "tool_use"]
    assert metadata["tokenizer.chat_template.rag_2"].data == "{{ x }}\n"
    assert metadata["tokenizer.chat_template"].data == vocab("qwen35").templates["default"]


@pytest.mark.parametrize(("inline", "files", "taken"), [
    ("old", {"chat_template.jinja": "new", "additional_chat_templates/tool_use.jinja": "tools"},
     {"default": "new", "tool_use": "tools"}),
    ([{"name": "default", "template": "old"}, {"name": "rag", "template": "r"}], {"chat_template.jinja": "new"},
     {"default": "new"}),
    ("old", {"additional_chat_templates/rag.jinja": "r"}, {"default": "old", "rag": "r"}),
    ("old", {"chat_template.json": '{"chat_template": "json"}'}, {"default": "old"}),
    (None, {"chat_template.json": '{"chat_template": "json"}'}, {"default": "json"}),
])
def test_template_files_replace_what_an_older_version_left(tmp_path: Path, inline: object, files: dict, taken: dict):
    folder = _folder(tmp_path, tokenizer__json=_bpe(), tokenizer_config__json={"chat_template": inline})
    write_files({name: text.encode() for name, text in files.items()}, folder)
    result = _convert(folder)
    found = {key.removeprefix("tokenizer.chat_template").lstrip(".") or "default": value.data
             for key, value in result.metadata.items() if key.startswith("tokenizer.chat_template") and "templates" not in key}
    assert found == taken
    replaced = inline is not None and "new" in files.values()
    assert any("replace" in note for note in result.notes) == replaced
    kept = residue(result.source, result.metadata)
    back = tokenizer_files({**result.metadata, **kept}, arch="llama").files
    assert {name: back[name].decode() for name in files if name.endswith("jinja")} == {
        name: text for name, text in files.items() if name.endswith("jinja")}


@pytest.mark.parametrize("lists", [False, True], ids=["alone", "with special_tokens_map"])
def test_special_tokens_that_only_the_configuration_names(tmp_path: Path, lists: bool):
    """A folder without tokenizer.json: the ids are found in the vocabulary."""
    vocab = _bpe()["model"]["vocab"] | {"<s>": 256, "</s>": 257, "<p>": 258, "<mask>": 259}
    named = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "<p>", "mask_token": "<mask>"}
    files = {"special_tokens_map__json": named, "tokenizer_config__json": {}} if lists else {"tokenizer_config__json": named}
    files["tokenizer_config__json"] |= {"tokenizer_class": "GPT2Tokenizer"}
    folder = _folder(tmp_path, vocab__json=vocab, merges__txt="#version: 0.2\n", **files)
    metadata = tokenizer_metadata(folder, arch="gpt2", hf_class="GPT2LMHeadModel", config={}, vocab_size=260).metadata
    ids = {key.removeprefix(T): value.data for key, value in metadata.items() if key.endswith("_token_id")}
    assert ids == {"bos_token_id": 256, "eos_token_id": 257, "padding_token_id": 258, "mask_token_id": 259}
    assert plain(metadata[T + "token_type"])[256:] == [3, 3, 3, 3]


def _folder(tmp_path: Path, **files: object) -> Path:
    folder = tmp_path / "m"
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def _convert(folder: Path, size: int = 300, arch: str = "llama", **options):
    return tokenizer_metadata(folder, arch=arch, hf_class="LlamaForCausalLM", config={"eos_token_id": [7, 8]},
                              vocab_size=size, **options)


def _bpe(**model: object) -> dict:
    from tokenizers import pre_tokenizers

    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return {"model": {"type": "BPE", "vocab": vocab, "merges": [], **model}, "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}}


def test_an_eos_list_gives_its_first_id(tmp_path: Path):
    metadata = _convert(_folder(tmp_path, tokenizer__json=_bpe())).metadata
    assert metadata[T + "eos_token_id"].data == 7
    assert metadata[T + "merges"].data == []
    assert metadata[T + "merges"].item_type is ValueType.STRING


@pytest.mark.parametrize(("arch", "role", "text"), [("laguna", "eot", "</assistant>"), ("internlm2", "eos", "<|im_end|>")])
def test_the_end_of_a_turn_is_control_and_has_its_role(tmp_path: Path, arch: str, role: str, text: str):
    """Else the runtime prints it, and goes on."""
    document = _bpe() | {"added_tokens": [{"id": 256, "content": text, "special": False}]}
    metadata = _convert(_folder(tmp_path, tokenizer__json=document), arch=arch).metadata
    assert metadata[T + f"{role}_token_id"].data == 256
    assert metadata[T + "token_type"].data[256] == TokenType.CONTROL


def test_bos_is_switched_off_where_the_name_would_switch_it_on(tmp_path: Path):
    """llama-bpe adds BOS unless a key says otherwise; this tokenizer adds none."""
    regex = vocab("llama3").tokenizer["pre_tokenizer"]
    document = _bpe(ignore_merges=True) | {"pre_tokenizer": regex}
    metadata = _convert(_folder(tmp_path, tokenizer__json=document)).metadata
    assert metadata[T + "pre"].data == "llama-bpe"
    assert metadata[T + "add_bos_token"].data is False


def _added(token_id: int, content: str, **flags: bool) -> dict:
    plain_flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": token_id, "content": content} | plain_flags | flags


TWINS = {
    "a piece": ({}, [_added(256, "é", special=True), _added(257, "<x>")]),
    "a piece that is spelled in bytes": ({}, [_added(256, "Ġ"), _added(257, "<x>")]),
    "listed twice": ({}, [_added(256, "<x>"), _added(257, "<x>"), _added(258, "<y>")]),
    "a filler's name": ({}, [_added(256, "[PAD257]"), _added(300, "[PAD258]"), _added(5, "[PAD259]")]),
    "a text that becomes the same": ({}, [_added(256, "▁ "), _added(257, " ▁")]),
    "in the configuration, too": (
        {"tokenizer_config__json": {"added_tokens_decoder": {"257": _added(0, "é"), "258": _added(0, "<z>")}}}, []),
}


@pytest.mark.parametrize("name", TWINS)
def test_every_text_has_one_id_the_library_s(tmp_path: Path, name: str):
    """Two ids with one text: llama.cpp aborts on the file. The `tokenizers` library numbers added tokens itself."""
    from tokenizers import Tokenizer

    files, added = TWINS[name]
    document = _bpe() | {"added_tokens": added}
    folder = _folder(tmp_path, tokenizer__json=document, **files)
    result = _convert(folder, size=270)
    tokens, types = plain(result.metadata[T + "tokens"]), plain(result.metadata[T + "token_type"])
    assert len(set(tokens)) == len(tokens) == len(types) == 270
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if "same" not in name:
        assert all(tokens.index(text.replace("Ġ", " ")) == theirs.token_to_id(text)
                   for text in {item["content"] for item in added})
    assert all(types[tokens.index(text)] in (3, 4) for text in {item["content"] for item in added} & set(tokens))
    said = ("fillers", "library", "already")
    assert name == "a filler's name" or any(text in note for note in result.notes for text in said)
    metadata = through_file(result.metadata, "llama", tmp_path / "v.gguf")
    back = Tokenizer.from_str(tokenizer_files(metadata, arch="llama").files["tokenizer.json"].decode())
    assert all(back.token_to_id(text) == i for i, text in enumerate(tokens) if types[i] in (3, 4))


@pytest.mark.skipif(missing_runtime() is not None, reason=str(missing_runtime()))
def test_llama_cpp_loads_a_vocabulary_with_twins(tmp_path: Path):
    requests = []
    for name, (files, added) in TWINS.items():
        folder = _folder(tmp_path / name, tokenizer__json=_bpe() | {"added_tokens": added}, **files)
        path = tmp_path / f"{len(requests)}.gguf"
        through_file(_convert(folder, size=270).metadata, "llama", path)
        requests.append({"path": str(path), "texts": ["a<x>é"], "special": True, "add": False})
    assert all(ids for ids in runtime_ids(requests))


def test_flags_that_gguf_cannot_hold_are_named(tmp_path: Path, root: Path):
    added = [_added(256, "<strip>", lstrip=True, rstrip=True), _added(257, "<plain>"), _added(258, "beta", single_word=True),
             _added(259, "<n>", normalized=True)]
    document = _bpe() | {"added_tokens": added}
    notes = _convert(_folder(tmp_path, tokenizer__json=document)).notes
    assert any("2 added tokens" in note and "'<strip>' (lstrip, rstrip), 'beta' (single_word)" in note for note in notes)
    notes = _convert(_folder(tmp_path, tokenizer__json=document | {"normalizer": {"type": "NFC"}})).notes
    assert any("3 added tokens" in note and "'<n>' (normalized)" in note for note in notes)
    c = case("phi3-v5-Phi3ForCausalLM")
    assert not any("flags" in note for note in c.forward(c.write(root)).notes), "the runtime knows of Phi-3's rstrip"
    c = case("roberta-v5-RobertaModel")
    assert any("'<mask>' (lstrip)" in note for note in c.forward(c.write(root)).notes)


def test_ids_beyond_the_model_are_left_out_and_named(tmp_path: Path):
    document = _bpe() | {"added_tokens": [_added(256 + i, f"<{i}>") for i in range(44)]}
    document["added_tokens"].append({"id": 300, "content": "<late>", "special": True})
    result = _convert(_folder(tmp_path, tokenizer__json=document, tokenizer_config__json={"bos_token": "<late>"}))
    assert T + "bos_token_id" not in result.metadata
    assert any("<late>" in note for note in result.notes)


def test_vocab_json_with_merges_txt(tmp_path: Path, root: Path):
    """A folder without tokenizer.json gives what the one with it gives."""
    c = case("gpt2-v4-GPT2LMHeadModel")
    source = c.write(root)
    document = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    merges = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in document["model"]["merges"])
    added = {token["content"]: token["id"] for token in document["added_tokens"]}
    config = (source / "tokenizer_config.json").read_text(encoding="utf-8")
    folder = _folder(tmp_path, vocab__json=document["model"]["vocab"], merges__txt=merges, added_tokens__json=added,
                     tokenizer_config__json=config)
    ours, wanted = c.forward(folder).metadata, c.forward(source).metadata
    keys = (*(T + key for key in ("model", "pre", "tokens", "token_type", "merges", "eos_token_id")),)
    assert {key: plain(ours[key]) for key in keys} == {key: plain(wanted[key]) for key in keys}


def test_vocab_txt(tmp_path: Path, root: Path):
    c = case("bert-v4-BertModel")
    source = c.write(root)
    entries = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    lines = "".join(f"{text}\n" for text in sorted(entries, key=entries.get))
    folder = _folder(tmp_path, vocab__txt=lines,
                     tokenizer_config__json=(source / "tokenizer_config.json").read_text(encoding="utf-8"))
    ours, wanted = c.forward(folder).metadata, c.forward(source).metadata
    for key in ("tokens", "token_type", "unknown_token_id", "seperator_token_id", "mask_token_id"):
        assert plain(ours[T + key]) == plain(wanted[T + key]), key


def test_wordpiece_settings_that_llama_cpp_does_not_have_are_named(tmp_path: Path, root: Path):
    c = case("bert-v5-BertModel")
    source = c.write(root)
    document = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    assert not any("llama.cpp" in note for note in c.forward(source).notes)
    document["normalizer"]["handle_chinese_chars"] = False
    document["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    notes = c.forward(_folder(tmp_path, tokenizer__json=document)).notes
    assert any("handle_chinese_chars is false" in note for note in notes)
    assert any("with WhitespaceSplit" in note for note in notes)
    config = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    lines = "\n".join(document["model"]["vocab"])
    result = c.forward(_folder(tmp_path / "txt", vocab__txt=lines, tokenizer_config__json=config))
    assert (result.metadata[T + "normalizer.lowercase"].data, result.metadata[T + "normalizer.strip_accents"].data) == (
        False, True)
    assert any("handle_chinese_chars is false" in note for note in result.notes)


def test_unigram_settings_that_llama_cpp_does_not_have_are_named(tmp_path: Path):
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["<0x41>", -1.0], ["a", -2.0]], "byte_fallback": True}
    document = {"model": model, "normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFKD"}]}}
    notes = _convert(_folder(tmp_path, tokenizer__json=document)).notes
    assert any("byte_fallback" in note for note in notes)
    assert any("Lowercase, NFKD" in note for note in notes)


def _rwkv_lines() -> list[str]:
    pieces = [*(bytes([i]) for i in range(256)), b"\n\n", b"ab", "é 'x'".encode(), b"\xff\xfe"]
    return [f"{i} {piece!r} {len(piece)}" if i % 2 else f"{i} {literal(piece)!r} {len(piece)}"
            for i, piece in enumerate(pieces, 1)]


def literal(piece: bytes) -> str | bytes:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece


@pytest.mark.skipif(missing_converter() is not None, reason=str(missing_converter()))
def test_rwkv_vocabulary_gives_the_key_values_of_llama_cpp(tmp_path: Path):
    folder = _folder(tmp_path, config__json={})
    (folder / "rwkv_vocab_v20230424.txt").write_text("\n".join(_rwkv_lines()) + "\n", encoding="utf-8")
    made = tokenizer_metadata(folder, arch="rwkv6", hf_class="Rwkv6ForCausalLM", config={}, vocab_size=300).metadata
    theirs, = converter_key_values([{"folder": str(folder), "hf_class": "Rwkv6ForCausalLM", "config": {"vocab_size": 300},
                                     "pre": None}])
    assert theirs.pop("tokenizer.chat_template")  # a file of llama.cpp's; the runtime knows it by its name, too
    assert made.pop("tokenizer.chat_template").data == "rwkv-world"
    assert {key: [value.type.name, plain(value)] for key, value in made.items()} == theirs


@pytest.mark.parametrize(("line", "said"), [
    ("2 'a' 1", "line 1"), ("1 'a' 2", "line 1"), ("1 a 1", "line 1"), ("1 7 1", "line 1"), ("1", "line 1"),
    ("1 __import__('os') 1", "line 1"), ("1 " + "(" * 5000 + " 1", "line 1"),
])
def test_a_damaged_rwkv_vocabulary_is_named(tmp_path: Path, line: str, said: str):
    folder = _folder(tmp_path)
    (folder / "rwkv_vocab_v20230424.txt").write_text(line)
    with pytest.raises(InputError, match=said):
        _convert(folder, arch="rwkv6")


BAD = [
    ("{", "not JSON"), ("[]", "wrong type at the top"), ("{}", "model: missing"), ('{"model": 1}', "model: wrong type"),
    ('{"model": {"type": "BPE", "vocab": {}}}', "empty"), ('{"model": {"type": "BPE", "vocab": []}}', "wrong type"),
    ('{"model": {"type": "BPE", "vocab": {"a": 300}}, "pre_tokenizer": {"type": "ByteLevel"}}', "beyond"),
    ('{"model": {"type": "BPE", "vocab": {"a": -1}}, "pre_tokenizer": {"type": "ByteLevel"}}', "beyond"),
    ('{"model": {"type": "BPE", "vocab": {"a": "x"}}, "pre_tokenizer": {"type": "ByteLevel"}}', "beyond"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}}, "pre_tokenizer": {"type": "ByteLevel"}}', "two tokens"),
    ('{"model": {"type": "BPE", "vocab": {"\\ud800": 0}}, "pre_tokenizer": {"type": "ByteLevel"}}', "surrogate"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [3]}, "pre_tokenizer": {"type": "ByteLevel"}}',
     "merges[0]"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": [1]}',
     "added_tokens[0]"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": [{"id": 1}]}',
     "content: missing"),
    ('{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}', "vocab[0]"),
    ('{"model": {"type": "Unigram", "vocab": [["a", NaN]]}}', "vocab[0]"),
    ('{"model": {"type": "Unigram", "vocab": [["a", 0.0]]}, "normalizer": {"type": "Precompiled", '
     '"precompiled_charsmap": "?"}}', "base64"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}}, "pre_tokenizer": {"type": "ByteLevel"}}', "occurs twice"),
    ("[" * 100_000 + "]" * 100_000, "nested deeper"),
    ('{"model": {"type": "WordLevel", "vocab": {"a": 0}}}', "WordLevel"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_tokenizer_json_is_named(tmp_path: Path, text: str, said: str):
    folder = _folder(tmp_path, tokenizer__json=text)
    with pytest.raises((InputError, UnsupportedError)) as caught:
        _convert(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_folder_without_tokenizer_says_what_is_expected(tmp_path: Path):
    with pytest.raises(InputError, match=r"tokenizer\.json, tokenizer\.model"):
        _convert(_folder(tmp_path))


def test_a_damaged_sentencepiece_model_is_refused(tmp_path: Path):
    folder = _folder(tmp_path)
    (folder / "tokenizer.model").write_bytes(b"\x0a\xff\xff\xff\xff\x0f abc")
    with pytest.raises(InputError, match="not a SentencePiece model"):
        _convert(folder)


def test_pre_can_be_given_by_hand(tmp_path: Path):
    document = _bpe() | {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    folder = _folder(tmp_path, tokenizer__json=document)
    with pytest.raises(UnsupportedError, match="--pre NAME"):
        _convert(folder)
    assert _convert(folder, pre="olmo").metadata[T + "pre"].data == "olmo"
    with pytest.raises(UnsupportedError, match="qwen2"):
        _convert(folder, pre="qwen3")


def _tekken(**config: object) -> dict:
    import base64

    pieces = [bytes([i]) for i in range(256)] + [b"th", b"he", b"the", b" t", b" the", "é".encode()]
    names = ("<unk>", "<s>", "</s>", "[INST]", "<pad>")
    return {"config": {"pattern": TEKKEN, "default_num_special_tokens": 8, "version": "v7", **config},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
                      for i, piece in enumerate(pieces)],
            "special_tokens": [{"rank": i, "token_str": name, "is_control": True} for i, name in enumerate(names)]}


def test_tekken_json_alone_is_enough(tmp_path: Path):
    """Mistral's own repositories: the ids are those of transformers, which reads the file, too."""
    from transformers import AutoTokenizer

    folder = _folder(tmp_path, tekken__json=_tekken(default_vocab_size=8 + 261), config__json={"model_type": "mistral3"})
    result = _convert(folder, size=272, arch="mistral3")
    assert residue(result.source, result.metadata) == {}
    metadata = through_file(result.metadata, "mistral3", tmp_path / "v.gguf")
    assert metadata[T + "pre"].data == "tekken"
    assert plain(metadata[T + "tokens"])[:9] == ["<unk>", "<s>", "</s>", "[INST]", "<pad>", "<SPECIAL_5>",
                                                 "<SPECIAL_6>", "<SPECIAL_7>", "Ā"]
    assert "Ã©" not in plain(metadata[T + "tokens"]), "beyond default_vocab_size"
    assert metadata[T + "padding_token_id"].data == 4
    assert metadata[T + "add_bos_token"].data is True
    assert metadata["tokenizer.chat_template"].data == "mistral-v7-tekken"
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = AutoTokenizer.from_pretrained(write_files(tokenizer_files(metadata, arch="mistral3").files, tmp_path / "out"))
    texts = [*HARD_TEXTS, "[INST]the[INST] the thé"]
    assert [ours.encode(text, add_special_tokens=False) for text in texts] == [
        theirs.encode(text, add_special_tokens=False) for text in texts]
    assert ours.encode("the") == [1, *theirs.encode("the", add_special_tokens=False)]


@pytest.mark.parametrize(("change", "said"), [
    ({"config": None}, "config: missing"), ({"config": {}}, "pattern: missing"), ({"vocab": []}, "vocab: empty"),
    ({"vocab": [{"token_bytes": "?"}]}, "not base64"), ({"vocab": [{"token_bytes": ""}]}, "empty"),
    ({"special_tokens": [{"rank": 3, "token_str": "x"}]}, "ranks"),
])
def test_damaged_tekken_json_is_named(tmp_path: Path, change: dict, said: str):
    with pytest.raises(InputError, match=said):
        _convert(_folder(tmp_path, tekken__json=_tekken() | change))
