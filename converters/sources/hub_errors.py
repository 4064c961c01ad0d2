"""What the Hub's client raises, told in the terms of `errors.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import GgufxError, InputError, NetworkError, StorageError
from ..io.files import printable

if TYPE_CHECKING:
    from .hub import HubReference

FETCH_FIRST = "unset HF_HUB_OFFLINE, or fetch the repository first"


def explained(error: BaseException, where: HubReference) -> GgufxError:
    """The error of ours that says what the client met at `where`."""
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import httpx

    host = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
    token = "set HF_TOKEN to a token that may read it, or run `hf auth login`"
    match error:
        case errors.GatedRepoError():
            return NetworkError(f"{where}: access is restricted",
                                hint=f"accept the terms at {host}/{where.repo}, then {token}")
        case errors.RepositoryNotFoundError():
            return InputError(f"{where}: no such folder here, and no such repository on {host}",
                              hint=f"check the spelling; if it is private, {token}")
        case errors.RevisionNotFoundError():
            return InputError(f"{where}: the repository has no revision {where.revision}",
                              hint="a revision is a branch, a tag or a commit")
        case errors.DisabledRepoError():
            return NetworkError(f"{where}: the Hub has disabled this repository")
        case errors.LocalEntryNotFoundError(__cause__=Exception() as cause):  # what the client met before its cache
            return explained(cause, where)
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
            return NetworkError(f"{where}: not (or not wholly) in the cache, and HF_HUB_OFFLINE is set",
                                hint=FETCH_FIRST)
        case errors.HfHubHTTPError():
            status = error.response.status_code
            hint = {401: token, 403: token, 429: f"wait, or {token}"}.get(status, "try again later")
            return NetworkError(f"{where}: {host} answered {status}", hint=hint)
        case httpx.TimeoutException():
            return NetworkError(f"{where}: {host} did not answer in time",
                                hint="HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT (seconds) allow it more")
        case httpx.HTTPError() | ConnectionError():
            return NetworkError(f"{where}: {host} cannot be reached ({_brief(error)})",
                                hint="what is in the cache can be used with HF_HUB_OFFLINE=1")
        case OSError(errno=int()):
            return StorageError(f"{where}: the Hub cache cannot be written: {error.strerror}", file=error.filename)
        case ValueError() | LookupError() | TypeError() | AssertionError():
            return NetworkError(f"{where}: {host} does not answer as a Hub does ({_brief(error)})",
                                hint="check HF_ENDPOINT")
        case _:
            return NetworkError(f"{where}: the transfer failed ({_brief(error)})", hint="run the command again")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0], 200)}"
