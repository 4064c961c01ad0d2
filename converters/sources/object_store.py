"""Checkpoints and GGUF files in object stores (`s3://`, `gs://`, `az://`), through fsspec and its clients.

Weights are read by ranges, when they are needed (`io.ranges`), and never stored here; small files are fetched into a folder of
the Hub client's cache, which is that of the objects as they are: names, sizes, and the store's own tags. An object that is
written anew meanwhile is an error. Credentials and endpoints are the client's own matter (AWS_PROFILE, AWS_ENDPOINT_URL ...).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from ..errors import GgufxError, InputError, NetworkError
from ..io import ranges
from ..io.objects import ObjectReference, client, explained
from .file_names import safe_name
from .hub_ranges import AT_ONCE, BY_RANGES, SAFETENSORS_READ

_TAGS = ("ETag", "etag", "content_md5", "md5Hash", "generation", "LastModified", "last_modified", "created")


class Objects:
    """The objects below a folder, and a way to have some of them here. `names`: relative to the folder."""

    offline = False

    def __init__(self, where: ObjectReference) -> None:
        self.where = where
        self._system = client(where)
        try:
            found = self._system.find(where.folder, detail=True)
        except Exception as error:
            raise explained(error, where) from error
        self._objects = {name.lstrip("/").removeprefix(f"{where.folder}/"): info for name, info in found.items()}
        self.names = {name for name in self._objects if safe_name(name)}

    @property
    def folder(self) -> Path:
        """Where these objects' files are, or would be; its name is the folder's own."""
        from huggingface_hub import constants

        state = json.dumps([self.where.repo, sorted((name, _state(info)) for name, info in self._objects.items())])
        name = self.where.folder.rpartition("/")[2]
        return Path(constants.HF_HOME) / "ggufx" / hashlib.sha256(state.encode()).hexdigest()[:32] / name

    def fetch(self, names: Collection[str]) -> Path:
        """The folder, with these files in it: of weights that are read by ranges their beginnings. Raises as `explained`."""
        folder = self.folder

        def fetch(name: str) -> None:
            path = folder / name
            if ranges.exists(path):
                return
            there = ObjectFile(self._system, f"{self.where.folder}/{name}", self._objects[name], self.where)
            if name.endswith(BY_RANGES):
                ranges.announce(path, there, there.read(0, min(there.size, SAFETENSORS_READ)))
                return
            growing = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
            growing.write_bytes(there.read(0, there.size))
            growing.replace(path)

        for parent in {(folder / name).parent for name in names}:
            parent.mkdir(parents=True, exist_ok=True)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(fetch, names))
        except GgufxError:
            raise
        except Exception as error:
            raise explained(error, self.where) from error
        return folder

    def refuse(self, message: str, **details: Any) -> NoReturn:
        raise InputError(f"{self.where}: {message}", **details)


class ObjectFile:
    """An object, as a `RangeSource`."""

    def __init__(self, system: Any, path: str, info: dict[str, Any], where: ObjectReference) -> None:
        self._system, self._path, self._where = system, path, where
        self.size = int(info["size"])
        self._state = _state(info)

    def read(self, offset: int, count: int) -> bytes:
        try:
            data = bytes(self._system.cat_file(self._path, start=offset, end=offset + count)) if count else b""
        except Exception as error:
            raise explained(error, self._where) from error
        if len(data) != count:
            raise NetworkError(f"{self._where}: the store does not answer with the range that was asked for",
                               expected=f"{count} bytes", found=len(data), hint="run the command again")
        return data

    def check(self) -> None:
        """InputError where the object is another than when it was listed."""
        try:
            self._system.invalidate_cache(self._system._parent(self._path))
            now = _state(self._system.info(self._path))
        except Exception as error:
            raise explained(error, self._where) from error
        if any(now[tag] != self._state[tag] for tag in now.keys() & self._state.keys()):
            raise InputError("the object changed since the conversion was planned",
                             file=f"{self._where.scheme}://{self._path}", hint="Start again.")


def _state(info: dict[str, Any]) -> dict[str, str]:
    """What tells one state of an object from another: its size, and the store's own tags. A listing may have fewer."""
    told = {tag: info[tag] for tag in _TAGS if info.get(tag) is not None}
    return {"size": str(info["size"]), **{t: str(v.timestamp() if hasattr(v, "timestamp") else v) for t, v in told.items()}}
