"""Exit statuses: documented in the README, and stable."""

from __future__ import annotations

from enum import IntEnum

from ..converters.errors import (
    GgufxError,
    InputError,
    ManyErrors,
    NetworkError,
    StorageError,
    UnsupportedError,
    UsageError,
)


class ExitStatus(IntEnum):
    DONE = 0
    NO = 1  # the command worked, and the answer is no
    USAGE = 2
    BAD_INPUT = 3
    UNSUPPORTED = 4
    IO = 5
    NETWORK = 6
    BUG = 70  # a fault of ggufx itself
    INTERRUPTED = 130
    TERMINATED = 143


_BY_CLASS = {
    UsageError: ExitStatus.USAGE,
    InputError: ExitStatus.BAD_INPUT,
    UnsupportedError: ExitStatus.UNSUPPORTED,
    StorageError: ExitStatus.IO,
    NetworkError: ExitStatus.NETWORK,
}


def status_of(error: GgufxError) -> ExitStatus:
    """The exit status of an error; of several, that of the first."""
    if isinstance(error, ManyErrors):
        return status_of(error.problems[0])
    return next((status for kind, status in _BY_CLASS.items() if isinstance(error, kind)), ExitStatus.BAD_INPUT)
