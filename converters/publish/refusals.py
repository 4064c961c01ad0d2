"""What the Hub's client raises on the way out, in the terms of `errors.py`: a sentence each."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ..errors import GgufxError, InputError, NetworkError, StorageError
from ..io.files import printable
from ..sources.hub import HubReference

TOKEN = "set HF_TOKEN to a token that may write to it, or run `hf auth login`"
_GO_ON = "Run the command again: what has arrived is not sent a second time."
_REASONS = {
    401: "the token is invalid or has expired", 402: "it wants payment, or more storage", 403: "the token may not do that",
    404: "no such repository is to be seen", 409: "somebody else changes the repository",
    412: "somebody else changes the repository", 413: "it is too large", 429: "too many requests",
}


def explained(error: BaseException, target: HubReference) -> GgufxError:
    """What the client raised on the way out, in one sentence."""
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import httpx

    host = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # "Error while uploading .."
        return explained(error.__cause__, target)
    match error:
        case errors.LocalTokenNotFoundError():
            return NetworkError(f"{target}: there is no token to push with", hint=f"To push, {TOKEN}.")
        case errors.OfflineModeIsEnabled():
            return NetworkError(f"{target}: HF_HUB_OFFLINE is set", hint="Unset it to push.")
        case errors.GatedRepoError():
            return NetworkError(f"{target}: access is restricted",
                                hint=f"Accept the terms at {host}/{target.repo}, then {TOKEN}.")
        case errors.DisabledRepoError():
            return NetworkError(f"{target}: the Hub has disabled this repository")
        case errors.RevisionNotFoundError():
            return InputError(f"{target}: the repository has no revision {target.revision}", hint="Name a branch.")
        case errors.HfHubHTTPError():
            return _refused(error.response.status_code, error, target, host)
        case httpx.TimeoutException():
            return NetworkError(f"{target}: {host} did not answer in time", hint=_GO_ON)
        case httpx.HTTPError() | ConnectionError():
            return NetworkError(f"{target}: the connection to {host} failed ({_brief(error)})", hint=_GO_ON)
        case OSError(errno=int()):
            return StorageError(f"cannot be read: {error.strerror}", file=error.filename)
        case ValueError() if "README.md" in str(error):
            return InputError(f"{target}: the Hub refuses the front matter of README.md "
                              f"({printable(' '.join(str(error).split()[4:]), 200)})")
        case ValueError() | LookupError() | TypeError() | AssertionError():
            return NetworkError(f"{target}: {host} does not answer as a Hub does ({_brief(error)})", hint="Check HF_ENDPOINT.")
        case _:
            return NetworkError(f"{target}: the transfer failed ({_brief(error)})", hint=_GO_ON)


def _refused(status: int, error: Any, target: HubReference, host: str) -> GgufxError:
    said = printable(" ".join(str(getattr(error, "server_message", None) or "").split()), 200)
    reason = _REASONS.get(status, "")
    hint = f"To push, {TOKEN}." if status in (401, 403, 404) else _GO_ON
    return NetworkError(f"{target}: {host} answered {status}{f', {reason}' if reason else ''}{f' ({said})' if said else ''}",
                        hint=hint)


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0], 200)}"

