"""Ollama's Modelfile of a GGUF model, and of an adapter on it: from their headers alone.

No TEMPLATE: a chat template in Jinja cannot be translated into Ollama's own language in general, and Ollama renders the one
in the file. No num_ctx: it costs memory that only the user knows of. Source: Ollama `parser/parser.go` (the grammar, which
has no escapes), `server/create.go` (what FROM and ADAPTER may name).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UnsupportedError, UsageError
from ..io.files import printable
from ..io.gguf import GgufFile, read_gguf, read_gguf_model
from ..io.json_file import parse_object
from ..io.values import Metadata, ValueType, plain, text_of
from ..sources.recognise import GGUFS, expect, expect_model
from .general import sampling_parameters

# PARAMETER, key of generation_config.json
_PARAMETERS = (("temperature", "temperature"), ("top_k", "top_k"), ("top_p", "top_p"), ("min_p", "min_p"),
               ("repeat_penalty", "repetition_penalty"), ("repeat_last_n", "penalty_last_n"))
_ENDS = ("eos", "eot", "eom")
_HEAD = "# By ggufx. Ollama renders the chat template of the model itself, so there is no TEMPLATE.\n"
_BARE = "# By ggufx. The model has no chat template: Ollama passes prompts on as they are.\n"


@dataclass(frozen=True)
class Modelfile:
    """`text`: the file. `name`: what the model could be called in Ollama. `notes`: what it cannot say, and what is doubtful."""

    text: str
    name: str
    notes: tuple[str, ...] = ()


def make_modelfile(model: Path, adapter: Path | None, folder: Path, projectors: Sequence[Path] = ()) -> Modelfile:
    """The Modelfile of a GGUF model (any part of a split one), of its projectors, and of a GGUF adapter on it, to lie in
    `folder`.

    Raises UnsupportedError or InputError for what is no model, no adapter, or an adapter for another architecture;
    UsageError for a path that a Modelfile cannot name.
    """
    file = check_model(model)
    keys = file.metadata
    notes: list[str] = []
    files = list(dict.fromkeys([file.path, *(t.file for t in file.tensors.values())]))
    if len(files) > 1:
        notes.append(f"the model is in {len(files)} files, which Ollama takes since 2026 only")
    for path in projectors:
        expect(path, "gguf")
        if not is_projector(read_gguf(path).metadata):
            raise UsageError("is no projector (mmproj)", file=path)
    lines = [f"FROM {_path(part, folder)}" for part in (*files, *projectors)]
    if adapter is not None:
        _check_adapter(adapter, keys, notes)
        lines.append(f"ADAPTER {_path(adapter, folder)}")
    for name, value in (*(("stop", text) for text in _stops(keys, file.path)), *_sampling(keys, file.path)):
        if (quoted := _quoted(str(value))) is None:
            notes.append(f"a Modelfile cannot say {name} {printable(repr(value))}: it is left out")
        else:
            lines.append(f"PARAMETER {name} {quoted}")
    if licence := _licence(keys):
        if (quoted := _quoted(licence)) is None:
            notes.append("a Modelfile cannot hold the text of the licence: it is left out")
        else:
            lines.append(f"LICENSE {quoted}")
    if not any(key.startswith("tokenizer.chat_template") for key in keys):
        notes.append("the model has no chat template: Ollama passes prompts on as they are")
        head = _BARE
    else:
        head = _HEAD
    context = keys.get(f"{text_of(keys, 'general.architecture')}.context_length")
    if context is not None:
        head += f"# The model was made for {context.data} tokens; as many as memory allows: PARAMETER num_ctx {context.data}\n"
    stem = re.sub(r"-00001-of-\d{5}$", "", (adapter or file.path).stem)
    return Modelfile(head + "\n".join(lines) + "\n", _ollama_name(stem), tuple(notes))


def check_model(path: Path) -> GgufFile:
    """A GGUF file that a Modelfile can be of. Raises for others."""
    expect(path, "gguf")
    file = read_gguf_model(path)
    expect_model(path, plain(file.metadata), file.tensors)
    return file


def is_projector(keys: Metadata) -> bool:
    """Whether a GGUF file holds the vision or audio part of a model."""
    return text_of(keys, "general.type") == "mmproj" or text_of(keys, "general.architecture") == "clip"


def _check_adapter(path: Path, model: Metadata, notes: list[str]) -> None:
    """Raise for what is no adapter of such a model; whether it is this very one is for the user to say."""
    expect(path, "gguf")
    file = read_gguf(path)
    keys = file.metadata
    kind, architecture = (text_of(keys, f"general.{key}") for key in ("type", "architecture"))
    if kind != "adapter":
        for thing in GGUFS:
            if thing.seen(kind, architecture, file.tensors):
                raise UnsupportedError(f"is {thing.name}; a LoRA adapter is needed", file=path, hint=thing.way)
        raise UsageError("is no adapter", file=path, hint="Name the model first, and its adapter behind --adapter.")
    if architecture != (wanted := text_of(model, "general.architecture")):
        raise InputError("is an adapter for another architecture than the model's", file=path, expected=wanted,
                         found=printable(architecture))
    base, own = text_of(keys, "general.base_model.0.name"), text_of(model, "general.name")
    known = [text_of(model, f"general.{key}") for key in ("name", "basename", "base_model.0.name")]
    if base and base.casefold() not in (name.casefold() for name in known):
        notes.append(f"the adapter was trained on {printable(base)}; the model is {printable(own) or 'without a name'}: an "
                     "adapter works on its own base model only")


def _stops(keys: Metadata, file: Path) -> list[str]:
    """The texts of the tokens at which generation ends."""
    arch = text_of(keys, "general.architecture")
    if (causal := keys.get(f"{arch}.attention.causal")) is not None and not causal.data:
        return []  # an encoder generates nothing
    ids: list[Any] = [keys[key].data for end in _ENDS if (key := f"tokenizer.ggml.{end}_token_id") in keys]
    listed = _generation(keys, file).get("eos_token_id")
    ids += listed if isinstance(listed, list) else [listed]
    stored = keys.get("tokenizer.ggml.tokens")
    tokens = stored.data if stored is not None and stored.item_type is ValueType.STRING else []
    return list(dict.fromkeys(tokens[i] for i in ids if type(i) is int and 0 <= i < len(tokens) and tokens[i]))


def _sampling(keys: Metadata, file: Path) -> list[tuple[str, Any]]:
    """What the model's makers sample with; nothing where they say that they do not sample."""
    if "ggufx.generation_config" in keys and not _generation(keys, file).get("do_sample"):
        return []
    found = sampling_parameters(keys)
    return [(name, found[key]) for name, key in _PARAMETERS if key in found]


def _generation(keys: Metadata, file: Path) -> dict[str, Any]:
    """generation_config.json, in files of ours."""
    text = text_of(keys, "ggufx.generation_config")
    return parse_object(text.encode(), file, non_finite=True) if text else {}


def _licence(keys: Metadata) -> str:
    """`apache-2.0`, or `other: Name (https://..)`."""
    licence, name, link = (text_of(keys, f"general.{key}") for key in ("license", "license.name", "license.link"))
    text = ": ".join(filter(None, (licence, name)))
    return f"{text} ({link})" if text and link else text or link


def _path(path: Path, folder: Path) -> str:
    relative = Path(os.path.relpath(path, folder)).as_posix()
    text = relative if relative.startswith("../") else f"./{relative}"
    quoted = _quoted(text)
    if quoted is None or "\n" in text:
        raise UsageError("a Modelfile cannot name such a path", file=printable(str(path)))
    return text if text == text.strip() else quoted


def _quoted(text: str) -> str | None:
    """The value between quotes; None where there is no way to write it: there are no escapes."""
    if not text or any(not c.isprintable() and c not in "\n\t" for c in text) or '"""' in text:
        return None
    if '"' not in text:
        return f'"{text}"'
    return None if text.startswith('"') or text.endswith('"') else f'"""{text}"""'


def _ollama_name(stem: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model"
