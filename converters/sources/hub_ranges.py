"""Files of the Hub, read by ranges with the client's own session: its token, proxies, retries and waits.

`hf_hub_url` of a commit answers a range exactly, in one request; the client's file system (`HfFileSystem.cat_file`) reads
5 MiB where less is asked for. A redirect to a store elsewhere is followed without the token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GgufxError, NetworkError
from ..io import ranges
from ..io.gguf_cursor import FIRST_READ
from .hub_errors import explained

if TYPE_CHECKING:
    from .hub import HubReference

BY_RANGES = (".safetensors", ".gguf")
SAFETENSORS_READ = 256 << 10  # the header of a usual shard has some tens of kB
AT_ONCE = 8  # requests
ATTEMPTS = 3  # at a body that breaks off

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
_WHOLE = "fetch the repository first: `hf download` gets files whole"


def snapshot_folder(repo: str, commit: str) -> Path:
    """Where the client's cache holds the files of a commit."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots" / commit


def fetch_small(repo: str, commit: str, names: Sequence[str], bar: type | None) -> None:
    """These files of a commit into the cache. Raises as the client does."""
    from huggingface_hub import hf_hub_download

    def fetch(name: str) -> None:
        hf_hub_download(repo, name, revision=commit, tqdm_class=bar)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, names))


def announce(folder: Path, where: HubReference, commit: str, names: Sequence[str]) -> None:
    """Make these files of a commit known under their names in `folder`, each with its beginning read. Raises as
    `HubFile`."""

    def begin(name: str) -> tuple[HubFile, bytes]:
        file = HubFile(where, commit, name)
        return file, file.begin(FIRST_READ if name.endswith(".gguf") else SAFETENSORS_READ)

    wanted = [name for name in names if ranges.elsewhere(folder / name) is None]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, (file, start) in zip(wanted, pool.map(begin, wanted), strict=True):
            ranges.announce(folder / name, file, start)


class HubFile:
    """A file of a commit, as a `RangeSource`. Reading raises as `hub_errors.explained` says, and NetworkError for an answer
    that is not the range asked for."""

    def __init__(self, where: HubReference, commit: str, name: str) -> None:
        from huggingface_hub import hf_hub_url

        self.size = 0
        self._where = where
        self._name = name
        self._url = hf_hub_url(where.repo, name, revision=commit)

    def begin(self, count: int) -> bytes:
        """The first `count` bytes, or all where there are fewer; from then on the size is known."""
        self.size, start = self._told(0, count, None)
        return start

    def read(self, offset: int, count: int) -> bytes:
        return self._told(offset, count, self.size)[1]

    def check(self) -> None:
        """A commit does not change."""

    def _told(self, offset: int, count: int, size: int | None) -> tuple[int, bytes]:
        try:
            return self._get(offset, count, size)
        except GgufxError:
            raise
        except Exception as error:
            raise explained(error, self._where) from error

    def _get(self, offset: int, count: int, size: int | None) -> tuple[int, bytes]:
        """The file's size, and a range of it."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff, httpx

        headers = {**build_hf_headers(), "Range": f"bytes={offset}-{offset + count - 1}", "Accept-Encoding": "identity"}
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            with http_stream_backoff("GET", self._url, headers=headers, follow_redirects=True,
                                     timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
                told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if response.status_code == 416 and told and told[3] == "0":
                    return 0, b""  # an empty file has no first byte
                hf_raise_for_status(response)
                stop = offset + count if told is None else min(offset + count, int(told[3]))
                if (response.status_code != 206 or told is None or (told[1], told[2]) != (str(offset), str(stop - 1))
                        or size not in (None, int(told[3]))):
                    raise NetworkError(
                        f"{self._where.repo}: {self._name}: the server does not answer with the range that was asked for",
                        expected=f"206, bytes {offset}-{stop - 1}{'' if size is None else f'/{size}'}",
                        found=f"{response.status_code}, {response.headers.get('Content-Range') or 'no Content-Range'}",
                        hint=_WHOLE)
                body = bytearray()
                try:  # here: the client's retries must not see what fails behind the headers
                    for part in response.iter_bytes():
                        body += part
                        if len(body) > stop - offset:
                            break
                except httpx.HTTPError as error:
                    failure = error
                    continue
                if len(body) == stop - offset:
                    return int(told[3]), bytes(body)
        if failure is not None:
            raise failure
        raise NetworkError(f"{self._where.repo}: {self._name}: the server's answer has another length than it says",
                           expected=f"{stop - offset} bytes", found=len(body), hint="run the command again")
