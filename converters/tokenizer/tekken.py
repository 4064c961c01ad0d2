"""Mistral's `tekken.json`, for folders that have no tokenizer.json: byte-level BPE by rank, without merges.

Sources: the file itself (`config`, `vocab` with base64 bytes by rank, `special_tokens`) and mistral-common, whose names
stand for those of old files that list none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from ..io.tokenizer_names import TEKKEN
from .bpe import BYTE_TO_CHAR
from .folder import Document, Folder
from .merges import merges_of_pieces
from .pre import recognise_structure
from .vocabulary import TokenType, Vocabulary, padding_token

_OLD_SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
                "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]",
                "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]")
_IDS = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
_TEMPLATES = {"v3": "mistral-v3-tekken", "v7": "mistral-v7-tekken"}  # names of templates built into llama.cpp


def from_folder(folder: Folder, size: int, preferred: Sequence[str]) -> Vocabulary:
    """The vocabulary, padded to `size`. Raises InputError for damaged files."""
    document = folder.document(TEKKEN)
    assert document is not None
    config = document.section("config")
    if config is None:
        raise document.error("config", "missing", expected="an object")
    split = {"type": "Split", "pattern": {"Regex": config.need("pattern", str)}, "behavior": "Isolated",
             "invert": False}
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    found = recognise_structure(None, {"type": "Sequence", "pretokenizers": [split, last]}, True,
                                ("tekken", *preferred), lambda: 0, document.file)
    special = _special(document, config)
    ranks = _ranks(document, config, len(special))
    total = len(special) + len(ranks)
    if total > size:
        raise document.error("config.default_vocab_size", "more tokens than the model has", expected=size, found=total)
    tokens = [*special, *(_spell(piece) for piece in ranks), *map(padding_token, range(total, size))]
    types = [int(TokenType.CONTROL)] * len(special) + [int(TokenType.NORMAL)] * len(ranks)
    types += [int(TokenType.UNUSED)] * (size - total)
    spelled = {_spell(piece): rank for piece, rank in ranks.items()}
    merges = [" ".join(way) for way in merges_of_pieces(spelled, spelled.__getitem__, "ids")]
    ids = {name: special.index(text) for name, text in _IDS.items() if text in special}
    return Vocabulary("gpt2", found.name, tokens, types, [0.0] * size, merges, ids,
                      {"bos": True, "eos": False}, found.notes)


def template(folder: Folder) -> dict[str, str]:
    """The chat template that llama.cpp has built in for this version of the file."""
    document = folder.document(TEKKEN) if folder.tokenizer is None else None
    config = document.section("config") if document else None
    name = _TEMPLATES.get(config.get("version", str) or "") if config else None
    return {"default": name} if name else {}


def _special(document: Document, config: Document) -> list[str]:
    listed = document.items("special_tokens")
    names = dict(enumerate(_OLD_SPECIAL)) if document.data.get("special_tokens") is None else {
        item.need("rank", int): item.need("token_str", str) for item in listed}
    count = config.get("default_num_special_tokens", int)
    count = len(names) if count is None else count
    if sorted(names) != list(range(len(names))) or not len(names) <= count <= 1 << 20:
        raise document.error("special_tokens", "ranks are not 0, 1, 2 ... below default_num_special_tokens",
                             found=sorted(names)[:3])
    return [names.get(rank, f"<SPECIAL_{rank}>") for rank in range(count)]


def _ranks(document: Document, config: Document, special: int) -> dict[bytes, int]:
    """The pieces in order of rank; those beyond the model's vocabulary are left out, as mistral-common does."""
    entries = document.items("vocab")
    size = config.get("default_vocab_size", int)
    ranks: dict[bytes, int] = {}
    for item in entries if size is None else entries[:max(0, size - special)]:
        try:
            piece = base64.b64decode(item.need("token_bytes", str), validate=True)
        except (binascii.Error, ValueError) as err:
            raise item.error("token_bytes", f"not base64: {err}") from err
        if not piece or piece in ranks:
            raise item.error("token_bytes", "empty or a repetition", found=item.data["token_bytes"])
        ranks[piece] = len(ranks)
    if not ranks:
        raise document.error("vocab", "empty")
    return ranks


def _spell(piece: bytes) -> str:
    return "".join(BYTE_TO_CHAR[byte] for byte in piece)
