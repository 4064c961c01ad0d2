"""Places in object stores (`s3://`, `gs://`, `az://`), and fsspec's clients of these stores.

What is to become an object is written here first, whole, at the path that `staged` gives: a tree in the Hub client's cache
(`HF_HOME`) that has the object's own names, so that the path tells the object again (`url_of`). Credentials and endpoints are
the clients' own matter (AWS_PROFILE, AWS_ENDPOINT_URL ...).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import GgufxError, InputError, NetworkError, UnsupportedError, UsageError
from .files import printable

STORES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "memory": "fsspec"}
_URL = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<path>[^/].*?)/*", re.DOTALL)
Place = TypeVar("Place", bound="str | Path | None")
_AS_PATH = re.compile(r"([a-z0-9]+):/(?!/)")  # what a Path makes of a URL


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """`repo`: the folder as a URL; `file`: a GGUF file in it, None for the folder itself."""

    scheme: str
    folder: str
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> ObjectReference | None:
        """None where `text` is no URL of a store."""
        match = _URL.fullmatch(text)
        if not match or match["scheme"] not in STORES:
            return None
        folder, file = match["path"], None
        if folder.endswith(".gguf") and "/" in folder:
            folder, _, file = folder.rpartition("/")
        return cls(match["scheme"], folder, file)

    @property
    def repo(self) -> str:
        return f"{self.scheme}://{self.folder}"

    @property
    def bucket(self) -> str:
        return self.folder.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}" if self.file else self.repo


def client(where: ObjectReference) -> Any:
    """fsspec's file system of a store, which remembers nothing of before. UnsupportedError where its package is missing."""
    try:
        import fsspec

        system = fsspec.filesystem(where.scheme)
    except ImportError as error:
        raise UnsupportedError(f"{where}: needs {STORES[where.scheme]}, which is not installed",
                               hint=f"pip install {STORES[where.scheme]} (for s3:// also: 'ggufx[s3]')") from error
    system.invalidate_cache()
    return system


def explained(error: BaseException, where: ObjectReference | str, done: str = "read") -> GgufxError:
    """The error of ours that says what a client met; `done`: what cannot be."""
    told = f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0], 200)}"
    if isinstance(error, FileNotFoundError):
        return InputError(f"{where}: no such bucket, or no such object")
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return NetworkError(f"{where}: access is refused ({told})", hint="Check the client's credentials (for s3://: "
                            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY).")
    return NetworkError(f"{where}: cannot be {done} ({told})", hint="Check the endpoint and the network, then run again.")


def staged(outfile: Place) -> Place:
    """Where an output is written: a URL's place here, of a folder with its `/`; anything else as it is.

    UsageError for a URL without a bucket, or with names that no file here can have.
    """
    text = _AS_PATH.sub(r"\1://", outfile.as_posix(), count=1) if isinstance(outfile, Path) else str(outfile or "")
    scheme, _, path = text.partition("://")
    if scheme not in STORES or "://" not in text:
        return outfile
    names = path.rstrip("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name or "\\" in name for name in names):
        raise UsageError(f"{printable(text)}: is no place in an object store",
                         expected=f"{scheme}://BUCKET/NAME.gguf, or {scheme}://BUCKET/FOLDER/")
    here = staging_root().joinpath(scheme, *names)
    folder = path.endswith("/") or len(names) == 1
    return cast(Place, here if isinstance(outfile, Path) else f"{here}/" if folder else str(here))


def staging_root() -> Path:
    """The folder below which outputs lie until they are sent."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME).absolute() / "ggufx" / "outgoing"


def url_of(path: Path) -> str | None:
    """The object that the file or folder at a path is to become; None where it stays."""
    if "outgoing" not in path.parts or not path.absolute().is_relative_to(root := staging_root()):
        return None
    scheme, *names = path.absolute().relative_to(root).parts
    return f"{scheme}://{'/'.join(names)}"


def shown(path: Path) -> str:
    """A path of an output as people know it."""
    return url_of(path) or str(path)
