"""A Hugging Face folder: its config and where every tensor lies, found from headers alone.

Weights are looked for as transformers does (`weight_files`); failing all of its names, all `*.safetensors` parts
together. Of several files it loads every tensor that they hold, whatever the index says of each. An index is a
stranger's text: a file that it names must lie in the folder, under its own name. Links that lead out of the folder are
refused, but for those of the Hub's cache, whose snapshots are links into stores of blobs. Code in the folder is never
looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from ..errors import GgufxError, InputError, ManyErrors, StorageError, UsageError, raise_all
from ..io.files import open_regular, printable, read_at, refuse_stand_in
from ..io.json_file import read_json
from ..io.ranges import exists, names_in
from ..io.safetensors import read_safetensors_header
from ..io.tensors import StoredTensor
from ..io.torch_pickle import read_torch_pickle
from .hub import SIDE_FILES, HubReference
from .recognise import expect
from .weight_files import ADAPTER, CHOICE, INDEX, MODEL, first_of, left_alone, loose_parts

_PICKLED = "weights come from a pickle (.bin), read with torch's weights_only; safetensors is the safer container"
_NO_LINKS = ("Links are followed within the folder only, since a stranger's could lead anywhere. Give the folder in which the "
             "file itself lies, with config.json and the tokenizer files beside it, or put the file in place of the link.")
_GIVE_BASE = "Give --base: a folder (its config.json is enough) or a Hub id."
_TWICE = "Two sets of weights, as of different precision, lie in one folder: leave one, or call it model.safetensors."
_PART = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.safetensors", re.DOTALL)
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # named by the Hub's client after their content

MAX_FILES = 10_000  # of one index; the largest known checkpoints have some hundreds
MAX_POINTER_BYTES = 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`config` is config.json as it stands; `tensors` in file order, then header order; `notes` are for the user.

    `promised`: names that the index lists and no file holds. `beside`: stored tensors that are no weights, nor parts of one.
    `made`: small files that stand for those of the folder: what is in them, or where they lie.
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, StoredTensor]
    notes: list[str] = field(default_factory=list)
    promised: tuple[str, ...] = ()
    beside: Mapping[str, StoredTensor] = field(default_factory=dict)
    made: Mapping[str, bytes | Path] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The folder that the model is called after: of one in `original/`, as the Hub has Meta's, that around it."""
        folder = Path(os.path.abspath(self.folder))
        return folder.parent if self.made and folder.name == "original" else self.folder

    def with_part(self, name: str, part: Checkpoint) -> Checkpoint:
        """The same with the tensors of the checkpoint in its folder `name`, under their names behind the folder's."""
        start = f"{name}/"
        more = {start + own: replace(tensor, name=start + own) for own, tensor in part.tensors.items()}
        return replace(self, tensors={**self.tensors, **more},
                       notes=[*self.notes, *(f"{start}: {note}" for note in part.notes)],
                       promised=(*self.promised, *(start + own for own in part.promised)))


def open_checkpoint(folder: str | Path, hf_class: str | None = None) -> Checkpoint:
    """Config and tensors of a model's folder; no tensor byte is read. `hf_class`: the class to take it for.

    Raises `UsageError` or `UnsupportedError` for what is something else than a checkpoint, `InputError` (several problems
    in one message) for a missing or malformed config, missing, cut or linked-away files, an index that names files that
    are not there, tensors that lie in two files.
    """
    folder = Path(folder)
    expect(folder, "checkpoint")
    problems: list[GgufxError] = []
    names = listed(folder)
    config = attempt(lambda: _read_config(folder, "config.json"), problems) or {}
    weights = _read_weights(folder, names, config, MODEL, problems)
    problems += _pointers(folder, names)
    raise_all(problems)
    if names & {"adapter_config.json", *ADAPTER}:
        weights.notes.append("an adapter lies beside the weights; it is not part of the result")
    if unread := left_alone(names, {t.file.name for t in weights.tensors.values()}):
        weights.notes.append(f"the weights are those of {weights.first}, as in transformers; not read: {_some(unread)}")
    return Checkpoint(folder, taken_for(config, hf_class), weights.tensors, weights.notes, tuple(weights.promised))


def open_adapter(folder: str | Path) -> Checkpoint:
    """As `open_checkpoint`, for an adapter: adapter_config.json with adapter_model.safetensors or .bin, or mlx-lm's
    adapters.safetensors, as they are stored."""
    folder = Path(folder)
    expect(folder, "adapter")
    problems: list[GgufxError] = []
    config = attempt(lambda: _read_config(folder, "adapter_config.json"), problems) or {}
    weights = _read_weights(folder, listed(folder), config, ADAPTER, problems)
    raise_all(problems)
    if not weights.tensors:
        raise InputError("holds no tensor", file=folder, hint="Trainers that spread the weights over GPUs (ZeRO-3, FSDP) save "
                         "such an adapter where they do not gather them first: save it again.")
    return Checkpoint(folder, config, weights.tensors, weights.notes)


def base_of(adapter: str | Path) -> str:
    """The base model that an adapter names, as a folder that is here or a Hub reference: what `resolve_model` takes.

    A local path counts from the current folder, as for peft. `UsageError` if it names none that can be had.
    """
    adapter = Path(adapter)
    expect(adapter, "adapter")
    config = _read_config(adapter, "adapter_config.json")
    name, revision = config.get("base_model_name_or_path", config.get("model")), config.get("revision")  # mlx-lm: `model`
    if not isinstance(name, str) or not name:
        raise UsageError("names no base model", file=adapter, hint=_GIVE_BASE)
    if not os.path.isdir(name) and HubReference.parse(name) is None:
        raise UsageError("its base model is not here", file=adapter, found=printable(name, 200),
                         hint=_GIVE_BASE)
    pinned = f"{name}@{revision}"
    return pinned if isinstance(revision, str) and not os.path.isdir(name) and HubReference.parse(pinned) else name


def config_only(folder: str | Path, hf_class: str | None = None) -> dict[str, Any]:
    """config.json of a folder that needs no weights. `hf_class`: the class to take it for."""
    folder = Path(folder)
    expect(folder, "config")
    return taken_for(_read_config(folder, "config.json"), hf_class)


def taken_for(config: dict[str, Any], hf_class: str | None) -> dict[str, Any]:
    """A config.json whose class is `hf_class`, where that is said."""
    return config if hf_class is None else {**config, "architectures": [hf_class]}


def safe_file(folder: Path, name: str, named_in: Path | None = None) -> Path:
    """`folder / name` for a name that the file `named_in` gave, or that is expected in the folder.

    Raises `InputError` if the name is more than a plain file name, or the file is a link out of the folder. From a
    snapshot of the Hub's cache, links to `blobs/` of the same repository or of the whole cache (where huggingface_hub
    keeps what repositories share) are followed; from a folder outside of a cache, links to a blob of one, as older
    versions of `hf download --local-dir` made them. The file need not exist.
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
    snapshots = next((p.parent for p in (home, home.parent) if p.parent.name == "snapshots"), None)
    if snapshots is not None and snapshots.parent.name.startswith("models--"):
        repository = snapshots.parent
        allowed += [repository / "blobs", repository.parent / "blobs"]
    elif _is_blob(target):
        return path
    if not any(target.is_relative_to(parent) for parent in allowed):
        raise InputError("is a link out of the folder", file=path, found=target, hint=_NO_LINKS)
    return path


def _is_blob(target: Path) -> bool:
    return (target.parent.name == "blobs" and target.parent.parent.name.startswith("models--")
            and _BLOB.fullmatch(target.name) is not None)


def listed(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()} | names_in(folder)
    except OSError as error:
        raise StorageError(f"cannot be listed: {error.strerror}", file=folder) from error


def _pointers(folder: Path, names: Collection[str]) -> list[GgufxError]:
    """Files beside the weights whose content was never downloaded: no reader of theirs would say so."""
    found: list[GgufxError] = []
    for name in sorted(names):
        path = folder / name
        if not any(fnmatchcase(name, pattern) for pattern in SIDE_FILES) or not os.path.isfile(path):
            continue
        if name == "config.json" or not 0 < os.path.getsize(path) <= MAX_POINTER_BYTES:
            continue  # config.json has been read; an empty template or list of merges is one
        attempt(partial(_refuse_stand_in, folder, name), found)
    return found


def _refuse_stand_in(folder: Path, name: str) -> None:
    path = safe_file(folder, name)
    with open_regular(path) as (file, size):
        refuse_stand_in(read_at(file, 0, min(size, MAX_POINTER_BYTES), path), path)


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(safe_file(folder, name), non_finite=True)
    except InputError as error:
        if os.path.exists(folder / name) or error.message != "no such file":
            raise
        raise InputError(f"has no {name}", file=folder,
                         hint="give a folder as `save_pretrained` or `hf download` leave it") from None


@dataclass
class _Weights:
    """Tensors by name, from the file or index `first` on."""

    first: str
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    promised: list[str] = field(default_factory=list)


def _read_weights(folder: Path, names: set[str], config: Mapping[str, Any], single: tuple[str, ...],
                  problems: list[GgufxError]) -> _Weights:
    """The tensors of the first layout that is present; what is wrong is added to `problems`."""
    first = first_of(names, config, single)
    if first is None:
        loose = loose_parts(names) if single is MODEL else []
        if not loose:
            problems.append(_no_weights(folder, names, single))
            return _Weights("")
        notes = [f"no index: all {len(loose)} *.safetensors files are read"]
        problems += missing_parts(folder, loose)
        return _Weights("the *.safetensors files", read_files(folder, loose, problems), notes)
    weights = _Weights(first)
    if first not in names:
        problems.append(InputError(f"{CHOICE}: no such file in the folder", file=folder / "config.json",
                                   found=printable(first)))
    elif first.endswith(INDEX):
        _read_indexed(folder, weights, problems)
    else:
        weights.tensors = read_files(folder, [first], problems)
    if any(t.file.suffix != ".safetensors" for t in weights.tensors.values()):
        weights.notes.append(_PICKLED)
    return weights


def _no_weights(folder: Path, names: Collection[str], single: tuple[str, ...]) -> GgufxError:
    parts = [name for name in names if fnmatchcase(name, "pytorch_model-*.bin")]
    hint = "Its parts are here, but not pytorch_model.bin.index.json, which says what is in them." if parts else None
    return InputError(f"has no weights: no {single[0]}, {single[1]}, or index of either", file=folder, hint=hint)


def missing_parts(folder: Path, loose: list[str]) -> Iterable[GgufxError]:
    """What the names of numbered parts tell of others that are not there."""
    numbered = [match for name in loose if (match := _PART.fullmatch(name))]
    for stem, total in sorted({(match[1], match[3]) for match in numbered}):
        there = {int(match[2]) for match in numbered if (match[1], match[3]) == (stem, total)}
        absent = [f"{printable(stem)}-{n:05d}-of-{total}.safetensors" for n in range(1, int(total) + 1) if n not in there]
        if absent:
            yield InputError(f"{len(absent)} of the {int(total)} parts are missing: {_some(absent)}", file=folder,
                             hint="The download is not complete.")


def _read_file(folder: Path, name: str) -> dict[str, StoredTensor]:
    path = safe_file(folder, name)
    return read_torch_pickle(path) if name.endswith((".bin", ".pth")) else read_safetensors_header(path).tensors


def read_files(folder: Path, names: Iterable[str], problems: list[GgufxError]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        read = attempt(partial(_read_file, folder, name), problems) or {}
        if twice := [other for other in read if other in tensors]:
            more = f", as {len(twice) - 1} more tensors are" if len(twice) > 1 else ""
            problems.append(InputError(f"already stored in {tensors[twice[0]].file.name}{more}", file=folder / name,
                                       tensor=twice[0], hint=_TWICE if more else None))
        tensors |= read
    return tensors


def _read_indexed(folder: Path, weights: _Weights, problems: list[GgufxError]) -> None:
    index_path = folder / weights.first
    index = attempt(lambda: read_json(safe_file(folder, weights.first)), problems)
    if index is None:
        return
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map \
            or not all(isinstance(name, str) for name in weight_map.values()):
        problems.append(InputError("weight_map: tensor names to file names are needed", file=index_path))
        return
    names = dict.fromkeys(weight_map.values())
    if len(names) > MAX_FILES:
        problems.append(InputError("weight_map: too many files", file=index_path, expected=f"at most {MAX_FILES}",
                                   found=len(names)))
        return
    before = len(problems)
    files: list[str] = []
    absent: list[str] = []
    for name in names:
        path = attempt(partial(safe_file, folder, name, index_path), problems)
        if path is not None:
            (files if exists(path) else absent).append(name)  # Path.exists raises for a name that is too long
    if absent:
        count = f"{len(absent)} of {len(absent) + len(files)}"
        problems.append(InputError(f"weight_map: {count} files are missing: {_some(absent)}", file=index_path,
                                   hint="the download is not complete"))
    tensors = weights.tensors = read_files(folder, files, problems)
    if len(problems) > before:
        return  # every tensor of an unread file would be reported again
    weights.promised = [name for name in weight_map if name not in tensors]
    wrong = [name for name, t in tensors.items() if weight_map.get(name) != t.file.name]
    if stale := sorted([*weights.promised, *wrong]):
        weights.notes.append(f"{weights.first} does not say what its files hold ({_some(stale)}): the files count, as in "
                             "transformers")


def _some(names: list[str]) -> str:
    return ", ".join(map(printable, names[:5])) + (", ..." if len(names) > 5 else "")


def attempt(read: Callable[[], T], problems: list[GgufxError]) -> T | None:
    """What `read` returns, or None after noting why not."""
    try:
        return read()
    except ManyErrors as error:
        problems.extend(error.problems)
    except GgufxError as error:
        problems.append(error)
    return None
