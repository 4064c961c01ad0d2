"""Special token ids and the add_bos / add_eos / add_sep flags, from a Hugging Face folder.

The order of precedence is that of llama.cpp's converter (gguf-py `vocab.py`): the post-processor decides what is added
around a text, tokenizer_config.json names the tokens, config.json's `*_token_id` fills in what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .folder import SPECIAL_NAMES, Document, Folder, token_text
from .vocabulary import TokenType, Vocabulary

PREFIX = "tokenizer.ggml."
ID_KEYS = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "sep": "seperator_token_id",
           "pad": "padding_token_id", "mask": "mask_token_id", "eot": "eot_token_id", "eom": "eom_token_id"}

# What the runtime assumes without the key (llama.cpp, llama-vocab.cpp); None: no such token.
RUNTIME_IDS: dict[str, dict[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unk": 0},
    "bert": {"bos": 101, "unk": 100, "sep": 102, "pad": 0, "mask": 103},
    "gpt2": {"bos": 11, "eos": 11},
    "t5": {"eos": 1, "unk": 2, "pad": 0},
    "plamo2": {"bos": 1, "eos": 2, "unk": 0, "pad": 3},
}
RUNTIME_ADDS: dict[str, dict[str, bool]] = {
    "llama": {"bos": True, "eos": False}, "bert": {"bos": True, "eos": False}, "gpt2": {"bos": False, "eos": False},
    "gemma4": {"bos": True, "eos": False}, "t5": {"bos": False, "eos": True},
}


# What classes add by themselves, where there is no tokenizer.json to say so.
CLASS_ADDS = {"XLMRobertaTokenizer": ("bos", "eos", "sep"), "CamembertTokenizer": ("bos", "eos", "sep"),
              "RobertaTokenizer": ("bos", "eos", "sep")}
# Classes that take tokenizer.json as it stands, so that what its post-processor does not add is not added.
JSON_CLASSES = (None, "PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")


@dataclass(slots=True)
class Special:
    """Ids and flags in the order in which they are written."""

    ids: dict[str, int] = field(default_factory=dict)
    adds: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def special_tokens(folder: Folder, config: Mapping[str, Any], vocabulary: Vocabulary, adds_bos: bool) -> Special:
    """`adds_bos`: whether the runtime adds BOS for this `tokenizer.ggml.pre` where no key says so."""
    found = Special(dict(vocabulary.ids), dict(vocabulary.adds))
    names = {name: text for name in SPECIAL_NAMES if (text := token_text(folder.config.data.get(f"{name}_token")))}
    types = list(SPECIAL_NAMES)
    if folder.tokenizer is not None:
        if not names.get("bos") and names.get("cls"):
            names["bos"] = names["cls"]
        if not names.get("eos") and names.get("sep"):
            names["eos"] = names["sep"]
        _read_post_processor(folder.tokenizer, names, types, found)
    for name in types:
        flag = folder.config.data.get(f"add_{name}_token")
        if isinstance(flag, bool) and found.adds.setdefault(name, flag) != flag:
            found.notes.append(f"add_{name}_token is {str(flag).lower()} in tokenizer_config.json, but the "
                               "post-processor of tokenizer.json says otherwise and is followed")
    in_json = {token.content: token.id for token in folder.json_added}
    for name in types:
        if (token_id := in_json.get(names.get(name, ""))) is not None:
            _set(found, name, token_id, len(vocabulary.tokens))
    inner = config.get("text_config")
    for name in types:
        token_id = config.get(f"{name}_token_id")
        if token_id is None and isinstance(inner, Mapping):
            token_id = inner.get(f"{name}_token_id")
        _set(found, name, token_id, len(vocabulary.tokens))
    _correct_defaults(folder, config, vocabulary, found, {**folder.special_names, **names}, adds_bos)
    found.ids.pop("cls", None)
    return found


def _set(found: Special, name: str, token_id: object, size: int) -> None:
    if type(token_id) is not int or name in found.ids:
        return
    if 0 <= token_id < size:
        found.ids[name] = token_id
    else:
        found.notes.append(f"{name}_token_id {token_id} is left out: the vocabulary has {size} ids")


def _read_post_processor(tokenizer: Document, names: dict[str, str], types: list[str], found: Special) -> None:
    top = tokenizer.section("post_processor")
    if top is None:
        return
    for processor in top.items("processors") if "processors" in top.data else [top]:
        kind = processor.get("type", str)
        if kind == "ByteLevel":
            found.adds.setdefault("bos", False)
            found.adds.setdefault("eos", False)
        elif kind in ("RobertaProcessing", "BertProcessing"):
            for name, own in (("cls", "bos"), ("sep", "eos")):
                pair = processor.get(name, list)
                if pair and not isinstance(pair[0], str):
                    raise processor.error(name, "wrong form", expected='["text", id]', found=pair)
                if not names.get(name) and (text := pair[0] if pair else names.get(own)):
                    names[name] = text
            found.adds.update(bos=True, eos=True, sep=True)
        elif kind == "TemplateProcessing":
            _read_template(processor, names, types, found)


def _special_id(item: Document) -> str | None:
    entry = item.section("SpecialToken")
    return entry.get("id", str) if entry else None


def _sequence_id(item: Document) -> str | None:
    entry = item.section("Sequence")
    return entry.get("id", str) if entry else None


def _read_template(processor: Document, names: dict[str, str], types: list[str], found: Special) -> None:
    single, pair = processor.items("single"), processor.items("pair")
    first = last = None
    if len(single) > 1:
        first, last = _special_id(single[0]), _special_id(single[-1])
    if first:
        if first not in (names.get("bos"), names.get("cls")):
            names.setdefault("bos", first)
            names.setdefault("cls", first)
        found.adds["bos"] = first in (names.get("bos"), names.get("cls"))
        if not found.adds["bos"]:
            found.notes.append(f"{first!r} is added before every text by tokenizer.json, but it is no BOS token; "
                               "GGUF cannot say so")
    if last:
        if last != names.get("eos"):
            # The model ends its turns with another token than the one its template adds.
            for name in ("eot", "eom"):
                if name not in types:
                    types.append(name)
                    if "eos" in names:
                        names[name] = names["eos"]
                    break
            names["eos"] = last
        found.adds["eos"] = True
    found.adds.update(_separator(pair, first, last, names))


def _separator(pair: Sequence[Document], first: str | None, last: str | None, names: dict[str, str]) -> dict[str, bool]:
    """Whether a separator besides EOS stands between the two texts of a pair; nothing where there is no telling."""
    inner = list(pair)
    if inner and first and _special_id(inner[0]) == first:
        del inner[0]
    if inner and last and _special_id(inner[-1]) == last:
        del inner[-1]
    if len(inner) < 3 or _sequence_id(inner[0]) != "A" or _sequence_id(inner[-1]) != "B":
        return {}
    between = [_special_id(item) for item in inner[1:-1]]
    ends = (names.get("sep"), names.get("eos"))
    adds = between[0] is not None and between[0] in ends and not last
    if len(between) == 2 and between[1] is not None and between[1] in ends:
        adds = True
    if adds and "eos" in names:
        names.setdefault("sep", names["eos"])
    return {"sep": adds}


def _correct_defaults(folder: Folder, config: Mapping[str, Any], vocabulary: Vocabulary, found: Special,
                      names: Mapping[str, str], adds_bos: bool) -> None:
    """Write what llama.cpp's converter leaves to the runtime's defaults, where those would be wrong."""
    eos = config.get("eos_token_id")
    if "eos" not in found.ids and isinstance(eos, list) and eos:
        _set(found, "eos", eos[0], len(vocabulary.tokens))
    defaults = RUNTIME_IDS.get(vocabulary.kind, {})
    if "bos" in defaults and "bos" not in names and "cls" in names:
        names = {**names, "bos": names["cls"]}
    if "unk" not in names and vocabulary.types.count(TokenType.UNKNOWN) == 1:
        names = {**names, "unk": vocabulary.tokens[vocabulary.types.index(TokenType.UNKNOWN)]}
    missing = {name: text for name, text in names.items() if name != "cls" and name not in found.ids}
    if missing:
        texts = set(missing.values())
        where = {text: token_id for token_id, text in enumerate(vocabulary.tokens) if text in texts}
        for name, text in missing.items():
            if text in where and where[text] != defaults.get(name):
                _set(found, name, where[text], len(vocabulary.tokens))
    kind = folder.config.get("tokenizer_class", str)
    if folder.tokenizer is None:
        for name in CLASS_ADDS.get((kind or "").removesuffix("Fast"), ()):
            found.adds.setdefault(name, True)
        return
    if vocabulary.kind != "gpt2" and kind not in JSON_CLASSES:
        return
    adds = {**RUNTIME_ADDS.get(vocabulary.kind, {}), **({"bos": True} if adds_bos else {})}
    for name, added in adds.items():
        if added and name not in found.adds:
            found.adds[name] = False
