"""Chat templates: data that is carried, never rendered.

transformers keeps them in tokenizer_config.json (one text, or a list with names), in `chat_template.jinja` with
`additional_chat_templates/*.jinja`, or in `chat_template.json`; GGUF in `tokenizer.chat_template[.name]`.
"""

from __future__ import annotations

import string as ascii_classes
from pathlib import Path

from ..errors import InputError
from ..io import tokenizer_names as names
from ..io.files import read_text
from ..io.values import Metadata, string, strings
from .folder import Folder

KEY = "tokenizer.chat_template"
NAMES_KEY = "tokenizer.chat_templates"
_NAME_CHARS = frozenset(ascii_classes.ascii_letters + ascii_classes.digits)


def chat_templates(folder: Folder) -> dict[str, str]:
    """All templates by name, the unnamed one as `default`.

    As transformers has it, chat_template.jinja replaces what an older version left in tokenizer_config.json, named templates
    and all; where there is no such file, single files replace single names. chat_template.json comes last: only processors
    read it.
    """
    files, inline = _from_files(folder), _from_config(folder)
    found = files if "default" in files else {**inline, **files}
    if not found and (document := folder.document(names.TEMPLATE_JSON)) and (text := document.get("chat_template", str)):
        return {"default": text}
    return found


def replaced_templates(folder: Folder) -> list[str]:
    """Names in tokenizer_config.json whose template is not the one that is taken."""
    taken = chat_templates(folder)
    return [name for name, text in _from_config(folder).items() if taken.get(name) != text]


def _from_config(folder: Folder) -> dict[str, str]:
    value = folder.config.data.get("chat_template")
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": value}
    if not isinstance(value, list):
        raise folder.config.error("chat_template", "wrong type", expected="a string or a list of named templates")
    return {item.need("name", str): item.need("template", str) for item in folder.config.items("chat_template")}


def _from_files(folder: Folder) -> dict[str, str]:
    found = {}
    if folder.has(names.TEMPLATE):
        found["default"] = _verbatim(folder, names.TEMPLATE)
    extra = folder.path / names.MORE_TEMPLATES
    if extra.is_dir():
        for file in sorted(extra.glob("*.jinja")):
            found[file.stem] = _verbatim(folder, f"{names.MORE_TEMPLATES}/{file.name}")
    return found


def _verbatim(folder: Folder, name: str) -> str:
    try:
        # Python's text mode, which wrote these files on the way in, reads any line end as "\n".
        return folder.read(name).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as err:
        raise InputError(f"not UTF-8 text (byte {err.start})", file=folder.path / name) from err


def template_metadata(templates: dict[str, str]) -> Metadata:
    """The key-values: named templates, the sorted list of their names, then the default one."""
    metadata: Metadata = {}
    named = {}
    for name, text in templates.items():
        clean = "".join(char if char in _NAME_CHARS else "_" for char in name)
        if clean and clean != "default":
            named[clean] = text
    for name, text in named.items():
        metadata[f"{KEY}.{name}"] = string(text)
    if named:
        metadata[NAMES_KEY] = strings(sorted(named))
    if "default" in templates:
        metadata[KEY] = string(templates["default"])
    return metadata


def with_template(metadata: Metadata, text: str) -> Metadata:
    """The key-values with this template in the place of all that they have: named ones are for the model's own uses."""
    return {k: v for k, v in metadata.items() if not k.startswith(KEY)} | {KEY: string(text)}


def read_template(path: Path) -> str:
    """A template as transformers reads it. InputError for a file that holds no text."""
    text = read_text(path)
    if not text.strip():
        raise InputError("is empty, a chat template is needed", file=path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def template_files(templates: dict[str, str]) -> dict[str, bytes]:
    """The files of transformers 5: chat_template.jinja, and the named ones in a folder of their own."""
    files = {}
    for name, text in templates.items():
        clean = "".join(char if char in _NAME_CHARS else "_" for char in name)
        file = names.TEMPLATE if name == "default" else f"{names.MORE_TEMPLATES}/{clean}.jinja"
        files[file] = text.encode("utf-8")
    return files
