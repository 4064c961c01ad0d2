"""The tokenizer files of an original checkpoint under the names that Hugging Face's have, and what goes with them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...io import tokenizer_names as names
from ...io.files import open_regular, read_at
from ...io.json_file import json_bytes
from ..hf_folder import safe_file
from .llama import special_names

VERSIONED = re.compile(r"tokenizer\.model\.v(\d{1,3})(m\d)?")  # Mistral's
_RANK = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")
MAX_BYTES = 64 << 20  # of a rank file; Llama 4's has 4 MB
_FIRST = 4096


def tokenizer_file(folder: Path, listed: Collection[str], notes: list[str], needed: bool) -> Path | None:
    """The folder's tokenizer: in Hugging Face's files (None: they are read as always), tekken.json, or tokenizer.model here or
    one level up, where Llama 1 and 2 have it. InputError where there is none and it is `needed`."""
    if names.TOKENIZER_JSON in listed:
        return None
    if names.TEKKEN in listed:
        return safe_file(folder, names.TEKKEN)
    if names.SENTENCEPIECE in listed:
        return safe_file(folder, names.SENTENCEPIECE)
    if versions := sorted((name for name in listed if VERSIONED.fullmatch(name)), key=lambda name: (len(name), name)):
        if len(versions) > 1:
            notes.append(f"the tokenizer is {versions[-1]}; not read: {', '.join(versions[:-1])}")
        return safe_file(folder, versions[-1])
    above = Path(os.path.abspath(folder)).parent
    if os.path.isfile(above / names.SENTENCEPIECE):
        return safe_file(above, names.SENTENCEPIECE)
    if not needed:
        return None
    raise InputError("has no tokenizer", file=folder, hint=f"Put {names.SENTENCEPIECE} (Meta: here or one level up), or "
                     f"Mistral's {names.TEKKEN} or {names.SENTENCEPIECE}.v3, beside the weights.")


def count_ranks(file: Path) -> int:
    """The pieces of a rank file, by its lines; 0 for SentencePiece's binary."""
    with open_regular(file) as (opened, size):
        if not _RANK.match(read_at(opened, 0, min(size, _FIRST), file)):
            return 0
        if size > MAX_BYTES:
            raise InputError("far too large for a rank file", file=file, expected=f"at most {MAX_BYTES} bytes", found=size)
        return sum(1 for line in read_at(opened, 0, size, file).splitlines() if line.strip())


def side_files(file: Path, ranks: int, version: str | None, config: Mapping[str, Any]) -> dict[str, bytes | Path]:
    """tokenizer_config.json, and the tokenizer's file where it has another name or place than Hugging Face's."""
    if file.name == names.TEKKEN:
        return {}
    made: dict[str, Any] = {"add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
                            "model_max_length": config.get("max_position_embeddings")}
    if not ranks:
        made |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    else:
        made |= {"add_sep_token": False, "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>",
                 "tokenizer_class": "PreTrainedTokenizerFast"}
        added = {str(ranks + 4 + i): {"content": text, "special": True, "lstrip": False, "rstrip": False, "normalized": False,
                                      "single_word": False} for i, text in enumerate(special_names(version or ""))}
        if added:
            made["added_tokens_decoder"] = added
    return {names.SENTENCEPIECE: file, names.CONFIG: json_bytes(made, indent=2)}
