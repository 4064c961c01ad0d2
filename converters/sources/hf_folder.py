"""A Hugging Face folder: its config and where every tensor lies, found from headers alone.

Weights are looked for as transformers does: `model.safetensors`, the files of `model.safetensors.index.json`, then
`pytorch_model.bin` and its index; failing these, all `*.safetensors` parts together. An index is a stranger's text: a
file that it names must lie in the folder, under its own name. Links that lead out of the folder are refused, but for
those of the Hub's cache, whose snapshots are links into stores of blobs. Code in the folder is never looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from ..errors import GgufxError, InputError, ManyErrors, StorageError, raise_all
from ..io.files import printable
from ..io.json_file import read_json
from ..io.safetensors import SourceTensor, read_safetensors_header
from ..io.torch_pickle import read_torch_pickle

_PICKLED = "weights come from a pickle (.bin), read with torch's weights_only; safetensors is the safer container"

MAX_FILES = 10_000  # of one index; the largest known checkpoints have some hundreds

T = TypeVar("T")
Reader = Callable[[Path], dict[str, SourceTensor]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`config` is config.json as it stands; `tensors` in file order, then header order; `notes` are for the user."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, SourceTensor]
    notes: list[str] = field(default_factory=list)


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Config and tensors of a model's folder; no tensor byte is read.

    Raises `InputError` (several problems in one message) for a missing or malformed config, missing, cut or linked-away
    files, an index that names what is not there or contradicts the headers, and tensors that lie in two files.
    """
    folder = _existing(folder)
    problems: list[GgufxError] = []
    config = _attempt(lambda: config_only(folder), problems) or {}
    tensors, notes = _read_weights(folder, "model", "pytorch_model", problems)
    raise_all(problems)
    return Checkpoint(folder, config, tensors, notes)


def open_adapter(folder: str | Path) -> Checkpoint:
    """As `open_checkpoint`, for a PEFT adapter: adapter_config.json with adapter_model.safetensors or .bin."""
    folder = _existing(folder)
    problems: list[GgufxError] = []
    config = _attempt(lambda: _read_config(folder, "adapter_config.json"), problems) or {}
    tensors, notes = _read_weights(folder, "adapter_model", "adapter_model", problems)
    raise_all(problems)
    return Checkpoint(folder, config, tensors, notes)


def config_only(folder: str | Path) -> dict[str, Any]:
    """config.json of a folder that needs no weights."""
    return _read_config(_existing(folder), "config.json")


def safe_file(folder: Path, name: str, named_in: Path | None = None) -> Path:
    """`folder / name` for a name that the file `named_in` gave, or that is expected in the folder.

    Raises `InputError` if the name is more than a plain file name, or the file is a link out of the folder. From a
    snapshot of the Hub's cache, links to `blobs/` of the same repository or of the whole cache (where huggingface_hub
    keeps what repositories share) are followed. The file need not exist.
    """
    pure = PurePosixPath(name)
    if pure.name != name or PureWindowsPath(name).name != name or name in ("", ".", "..") or not name.isprintable():
        raise InputError("names a file outside of its folder", file=named_in or folder, found=f"'{printable(name)}'")
    path = folder / name
    try:
        target, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise InputError(f"cannot be resolved ({error})", file=path) from None
    allowed = [home]
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        repository = home.parent.parent
        allowed += [repository / "blobs", repository.parent / "blobs"]
    if not any(target.is_relative_to(parent) for parent in allowed):
        raise InputError("is a link out of the folder", file=path, found=target)
    return path


def _existing(folder: str | Path) -> Path:
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError("a folder is needed" if os.path.exists(folder) else "no such folder", file=folder)
    return folder


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(safe_file(folder, name), non_finite=True)
    except InputError as error:
        if os.path.exists(folder / name) or error.message != "no such file":
            raise
        raise InputError(f"has no {name}", file=folder,
                         hint="give a folder as `save_pretrained` or `hf download` leave it") from None


def _read_weights(folder: Path, stem: str, pickle_stem: str,
                  problems: list[GgufxError]) -> tuple[dict[str, SourceTensor], list[str]]:
    """The tensors of the first layout that is present; what is wrong is added to `problems`."""
    try:
        present = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise StorageError(f"cannot be listed: {error.strerror}", file=folder) from error
    containers: tuple[tuple[str, Reader, list[str]], ...] = (
        (f"{stem}.safetensors", _safetensors, []),
        (f"{pickle_stem}.bin", read_torch_pickle, [_PICKLED]),
    )
    for name, reader, notes in containers:
        if name in present:
            return _read_files(folder, [name], reader, problems), notes
        if f"{name}.index.json" in present:
            return _read_indexed(folder, f"{name}.index.json", reader, problems), notes
    loose = sorted(name for name in present if name.endswith(".safetensors"))
    if loose and stem == "model":
        notes = [f"no index: all {len(loose)} *.safetensors files are read"]
        return _read_files(folder, loose, _safetensors, problems), notes
    problems.append(InputError(f"has no weights: no {stem}.safetensors, {pickle_stem}.bin, or index of either",
                               file=folder))
    return {}, []


def _safetensors(path: Path) -> dict[str, SourceTensor]:
    return read_safetensors_header(path).tensors


def _read_files(folder: Path, names: Iterable[str], reader: Reader,
                problems: list[GgufxError]) -> dict[str, SourceTensor]:
    tensors: dict[str, SourceTensor] = {}
    for name in names:
        for tensor in (_attempt(lambda name=name: reader(safe_file(folder, name)), problems) or {}).values():
            if tensor.name in tensors:
                problems.append(InputError(f"already stored in {tensors[tensor.name].file.name}", file=tensor.file,
                                           tensor=tensor.name))
            tensors[tensor.name] = tensor
    return tensors


def _read_indexed(folder: Path, index_name: str, reader: Reader,
                  problems: list[GgufxError]) -> dict[str, SourceTensor]:
    index_path = folder / index_name
    index = _attempt(lambda: read_json(safe_file(folder, index_name)), problems)
    if index is None:
        return {}
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map \
            or not all(isinstance(name, str) for name in weight_map.values()):
        problems.append(InputError("weight_map: tensor names to file names are needed", file=index_path))
        return {}
    names = dict.fromkeys(weight_map.values())
    if len(names) > MAX_FILES:
        problems.append(InputError("weight_map: too many files", file=index_path, expected=f"at most {MAX_FILES}",
                                   found=len(names)))
        return {}
    before = len(problems)
    files: list[str] = []
    absent: list[str] = []
    for name in names:
        path = _attempt(lambda name=name: safe_file(folder, name, index_path), problems)
        if path is not None:
            (files if os.path.exists(path) else absent).append(name)  # Path.exists raises for a name that is too long
    if absent:
        shown = ", ".join(map(printable, absent[:5])) + (", ..." if len(absent) > 5 else "")
        count = f"{len(absent)} of {len(absent) + len(files)}"
        problems.append(InputError(f"weight_map: {count} files are missing: {shown}", file=index_path,
                                   hint="the download is not complete"))
    tensors = _read_files(folder, files, reader, problems)
    if len(problems) > before:
        return tensors  # every tensor of an unread file would be reported again
    for name, file_name in weight_map.items():
        held = tensors.get(name)
        if held is None or held.file.name != file_name:
            problems.append(InputError("weight_map: the file's header says otherwise", file=index_path,
                                       tensor=printable(name), expected=file_name,
                                       found="in no file" if held is None else held.file.name))
    problems += [InputError("weight_map: the file holds a tensor that the index does not name", file=tensor.file,
                            tensor=name) for name, tensor in tensors.items() if name not in weight_map]
    return tensors


def _attempt(read: Callable[[], T], problems: list[GgufxError]) -> T | None:
    """What `read` returns, or None after noting why not."""
    try:
        return read()
    except ManyErrors as error:
        problems.extend(error.problems)
    except GgufxError as error:
        problems.append(error)
    return None
