"""Models by reference: a local path as it is, `org/name[@revision][:file.gguf]` through the Hub's own client, a URL of an
object store (`object_store.py`).

The client (`huggingface_hub`) does what it is good at: cache, locks, resumed and parallel transfers, retries, and the
environment (HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, the timeouts). Here is decided which files a
conversion needs, all of one commit; no name that a stranger wrote becomes a path or a URL before it is checked; and the
client's errors are told in the terms of `errors.py`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn

from ..errors import GgufxError, InputError, NetworkError, UsageError, raise_all
from ..io import tokenizer_names
from ..io.files import printable
from ..io.gguf import split_names
from ..io.json_file import read_json
from ..io.objects import ObjectReference
from . import hub_ranges, quantized
from .file_names import safe_name
from .hub_errors import FETCH_FIRST, explained
from .object_store import Objects
from .recognise import recognise_names, told
from .subfolders import names_below
from .weight_files import ADAPTER, INDEX, PARAMS, first_of, is_original, loose_parts, original_parts

What = Literal["checkpoint", "config", "target", "adapter", "gguf", "any"]

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")  # images, sounds
# Small files worth having where they exist, as fnmatch patterns; the weights are chosen by name from what is there.
SIDE_FILES = (
    "config.json", "generation_config.json", "README.md", *tokenizer_names.PATTERNS, *PROCESSOR_FILES,
    "modules.json", "sentence_bert_config.json", "[0-9]_*/config.json",  # sentence-transformers: pooling
    *quantized.FILES,
)
_FILES: dict[What, tuple[str, ...]] = {
    "checkpoint": SIDE_FILES,
    "config": ("config.json",),
    "target": ("config.json", "generation_config.json", *tokenizer_names.PATTERNS),  # of a draft: settings and tokenizer
    "adapter": ("adapter_config.json", "README.md", *tokenizer_names.PATTERNS),
    "gguf": (),
    "any": (*SIDE_FILES, "adapter_config.json", PARAMS),  # to be looked at
}

_SEGMENT = r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REFERENCE = re.compile(
    rf"(?P<repo>{_SEGMENT}/{_SEGMENT})(?:@(?P<revision>[\w][\w./+-]*))?(?::(?P<file>.+))?", re.ASCII | re.DOTALL)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubReference:
    """`repo` is `org/name`; `revision` a branch, tag or commit (None: the default branch); `file` a path in it."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubReference | None:
        """None where `text` is no reference."""
        match = _REFERENCE.fullmatch(text)
        if not match or "--" in match["repo"] or ".." in match["repo"] or ".." in (match["revision"] or ""):
            return None
        if match["file"] and not (match["file"].endswith(".gguf") and safe_name(match["file"])):
            return None
        return cls(match["repo"], match["revision"], match["file"])

    def __str__(self) -> str:
        return f"{self.repo}{f'@{self.revision}' if self.revision else ''}{f':{self.file}' if self.file else ''}"


def resolve_model(ref: str | Path, *, what: What = "checkpoint", progress: bool = False, headers: bool = False,
                  parts: bool = False) -> Path:
    """The local folder (for "gguf" the file, of a split model the part that was named) that `ref` stands for; for "any"
    whatever the reference, or what the repository holds, is.

    What exists locally is returned as it is, unread. Otherwise the files that `what` needs are fetched into the
    client's cache, all from one commit: safetensors rather than `.bin`, every part of a split GGUF; `cached_origin`
    and `cached_commit` tell repository and commit from the result. `progress` shows the client's bars. `headers`: of
    safetensors and GGUF files that are not in the cache, the beginning alone is fetched, and what a planner reads of them,
    by ranges of the same commit (`io.ranges`); such a model can be planned and looked at. `parts`: with a checkpoint's, those
    of the checkpoints in its folders (`subfolders`).

    Raises `UsageError` (a file named where a folder is needed), `InputError` (no such path, repository, revision, file;
    an index that is damaged or hostile), `NetworkError` (unreachable, refused, offline and not cached), `StorageError`.
    """
    if os.path.exists(ref):
        return Path(ref)
    where = _parse(str(ref))
    if where is None:
        raise InputError(
            "no such file or folder, and not a Hub reference", file=printable(str(ref), 200),
            hint="on the Hub a model is org/name or org/name@revision, a GGUF file in it org/name:file.gguf; in a store "
                 "s3://bucket/folder")
    if where.file and what not in ("gguf", "any"):
        raise UsageError(f"{where}: a GGUF file is named where a repository is needed", hint=f"give {where.repo}")
    snapshot = Objects(where) if isinstance(where, ObjectReference) else _Snapshot(where, what, progress, headers)
    if not snapshot.names:
        snapshot.refuse("no such folder, or nothing is in it")
    if what == "any":
        what = _kind(snapshot)
    return _fetch_gguf(snapshot) if what == "gguf" else _fetch_folder(snapshot, what, parts)


def names_file(ref: str | Path) -> bool:
    """Whether this is a reference to a GGUF file, in a repository or a store."""
    where = _parse(str(ref))
    return where is not None and where.file is not None


def _parse(text: str) -> ObjectReference | HubReference | None:
    return ObjectReference.parse(text) or HubReference.parse(_of_hf_url(text))


def _of_hf_url(text: str) -> str:
    """`hf://org/name[@revision][/file.gguf]` as `org/name[@revision][:file.gguf]`; any other text as it is."""
    if not text.startswith("hf://"):
        return text
    org, _, rest = text.removeprefix("hf://").partition("/")
    name, _, file = rest.strip("/").partition("/")
    return f"{org}/{name}:{file}" if file else f"{org}/{name}"


def cached_origin(path: Path) -> str | None:
    """The repository id of a folder (or file) in the Hub cache, None elsewhere."""
    found = _cached(path)
    return found[0] if found else None


def cached_commit(path: Path) -> str | None:
    """The commit of a folder (or file) in the Hub cache, None elsewhere."""
    found = _cached(path)
    return found[1] if found else None


def _cached(path: Path) -> tuple[str, str] | None:
    """The cache's layout, as huggingface_hub documents it: models--org--name/snapshots/<commit>/..."""
    path = Path(os.path.abspath(path))
    for folder in (path, *path.parents):
        if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
            kind, *repo = folder.parent.parent.name.split("--")
            if kind == "models" and 1 <= len(repo) <= 2 and all(repo):
                return "/".join(repo), folder.name
    return None


class _Snapshot:
    """One commit of a repository: the names in it, and a way to have some of them in the cache."""

    def __init__(self, where: HubReference, what: What, progress: bool, headers: bool) -> None:
        self.where = where
        self._headers = headers and what != "adapter"  # whose values a plan depends on; they are small
        self._options: dict[str, Any] = {"repo_id": where.repo, "revision": where.revision}
        info = self._info()
        self.offline = info is None
        if self.offline:
            wanted = [*_FILES[what], *([escape(where.file)] if where.file else [])]
            self.folder = self._download(wanted, local_files_only=True)
            names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        else:
            self.commit = info.sha
            names = [sibling.rfilename for sibling in info.siblings or ()]
            if not progress:
                self._options["tqdm_class"] = _silent_bar()
        self.names = {name for name in names if safe_name(name)}

    def fetch(self, names: Collection[str]) -> Path:
        """The snapshot's folder, with these files in it."""
        if self.offline:
            return self.folder
        if self._headers:
            return self._announced(names)
        folder = self._download([escape(name) for name in names])
        if folder.name != self.commit:
            raise NetworkError(f"{self.where}: changed on the Hub while it was read", hint="run the command again")
        if absent := sorted(name for name in names if not (folder / name).is_file()):
            raise NetworkError(f"{self.where}: could not be fetched: {_some(absent)}", hint="run the command again")
        return folder

    def _announced(self, names: Collection[str]) -> Path:
        """The same, of large files their beginnings alone."""
        if not _COMMIT.fullmatch(str(self.commit)):
            raise NetworkError(f"{self.where}: the Hub names no commit", found=printable(str(self.commit)),
                               hint="check HF_ENDPOINT")
        folder = hub_ranges.snapshot_folder(self.where.repo, self.commit)
        absent = [name for name in names if not (folder / name).is_file()]
        far = [name for name in absent if name.endswith(hub_ranges.BY_RANGES)]
        bar = self._options.get("tqdm_class")
        try:
            hub_ranges.fetch_small(self.where.repo, self.commit, [name for name in absent if name not in far], bar)
            hub_ranges.announce(folder, self.where, self.commit, far)
        except GgufxError:
            raise
        except Exception as error:
            raise explained(error, self.where) from error
        return folder

    def refuse(self, message: str, **details: Any) -> NoReturn:
        """What is missing offline may be missing from the cache only."""
        if self.offline:
            raise NetworkError(f"{self.where}: {message} (only the cache was searched, HF_HUB_OFFLINE is set)",
                               hint=FETCH_FIRST)
        raise InputError(f"{self.where}: {message}", **details)

    def _info(self) -> Any:
        """The Hub's description of the revision; None when offline."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import OfflineModeIsEnabled

        try:
            return HfApi().model_info(
                self.where.repo, revision=self.where.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except OfflineModeIsEnabled:
            return None
        except Exception as error:
            raise explained(error, self.where) from error

    def _download(self, patterns: list[str], **options: Any) -> Path:
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(**self._options, allow_patterns=patterns, **options))
        except Exception as error:
            raise explained(error, self.where) from error


def _kind(snapshot: _Snapshot | Objects) -> What:
    """What a repository is to be looked at as."""
    if snapshot.where.file:
        return "gguf"
    return "adapter" if "adapter_config.json" in snapshot.names and "config.json" not in snapshot.names else "checkpoint"


def _fetch_folder(snapshot: _Snapshot | Objects, what: What, parts: bool = False) -> Path:
    files = [name for name in snapshot.names if any(fnmatchcase(name, pattern) for pattern in _FILES[what])]
    if what == "checkpoint" and is_original(snapshot.names):
        return snapshot.fetch([*files, PARAMS, *original_parts(snapshot.names)])
    required = "adapter_config.json" if what == "adapter" else "config.json"
    if required not in snapshot.names:
        snapshot.refuse(f"no {required}", hint=_other_use(snapshot))
    if what == "checkpoint":
        config = read_json(snapshot.fetch(["config.json"]) / "config.json", non_finite=True)
        weights = weight_files(snapshot.names, config, lambda index: snapshot.fetch([index]) / index)
        for folder, names in names_below(snapshot.names).items() if parts and weights else ():
            own = weight_files(names, {}, partial(_fetched, snapshot, folder))
            weights += [f"{folder}/{name}" for name in ("config.json", *own)]
    else:
        weights = next(([name] for name in ADAPTER if what == "adapter" and name in snapshot.names), [])
    if not weights and what not in ("config", "target"):
        snapshot.refuse("no weights that can be converted", expected="safetensors or PyTorch .bin files",
                        hint=_other_use(snapshot))
    if absent := [name for name in weights if name not in snapshot.names]:
        snapshot.refuse(f"the index names files that are absent: {_some(absent)}")
    return snapshot.fetch([*files, *weights])


def _fetched(snapshot: _Snapshot | Objects, folder: str, name: str) -> Path:
    return snapshot.fetch([f"{folder}/{name}"]) / folder / name


def _fetch_gguf(snapshot: _Snapshot | Objects) -> Path:
    models = sorted(name for name in snapshot.names if name.endswith(".gguf"))
    file = snapshot.where.file
    if file is None:
        names = {name: PurePosixPath(name).name for name in models}
        starts = [name for name in models
                  if not names[name].startswith("mmproj") and split_names(Path(name))[:1] in ([], [names[name]])]
        if not starts:
            snapshot.refuse("no GGUF file")
        if len(starts) > 1:
            snapshot.refuse("several GGUF files", hint=f"name one of {_some(starts)}")
        file = starts[0]
    elif file not in models:
        nearest = difflib.get_close_matches(file, models, 1, cutoff=0)
        snapshot.refuse(f"no such file in {snapshot.where.repo}",
                        hint=f"the nearest is {nearest[0]}" if nearest else "it holds no GGUF file at all")
    folder = PurePosixPath(file).parent
    parts = [str(folder / name) for name in split_names(Path(file))] or [file]
    if absent := [name for name in parts if name not in models]:
        snapshot.refuse(f"parts of the split model are missing: {_some(absent)}")
    return snapshot.fetch(parts) / file


def weight_files(names: Collection[str], config: Mapping[str, Any], fetch: Callable[[str], Path]) -> list[str]:
    """Which of a repository's files hold the weights, an index included; [] for none. The order of `weight_files.py`.

    `fetch` gives the local path of an index. Raises `InputError`s for an index that is damaged or names unsafe files;
    those that it names need not be there.
    """
    first = first_of(names, config)
    if first is None:
        return loose_parts(names)
    return [first, *_indexed(fetch(first))] if first.endswith(INDEX) and first in names else [first]


def _indexed(path: Path) -> list[str]:
    """The files that the index at `path` spreads the tensors over."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError("weight_map: tensor names to file names are needed", file=path)
    files = list(dict.fromkeys(weight_map.values()))
    raise_all(InputError(f"the index names what cannot be a file of the repository: {printable(name)}", file=path)
              for name in files if not safe_name(name))
    return files


def _other_use(snapshot: _Snapshot | Objects) -> str | None:
    """What the repository is, if it is not what was asked for."""
    tops = {part for name in snapshot.names for part in (name, name.partition("/")[0])}
    repo = str(snapshot.where)
    for thing, entry in recognise_names(tops):
        name, way = told(thing, entry, repo, f"{repo}:{entry}")
        return f"it is {name}. {way}"
    return None


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _silent_bar() -> type:
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    return Silent
