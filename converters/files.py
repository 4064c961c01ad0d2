"""The files of a plan while it is executed: positioned reads and writes on descriptors that are opened once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import InputError, StorageError

CHUNK = 8 << 20  # bytes moved by one system call of a copy


class OpenFiles:
    """`job.Files` on file descriptors: inputs and outputs as (descriptor, path to be named in errors)."""

    def __init__(self, inputs: Sequence[tuple[int, Path]], outputs: Sequence[tuple[int, Path]]) -> None:
        self.inputs = inputs
        self.outputs = outputs

    def read(self, file: int, offset: int, nbytes: int) -> np.ndarray:
        """uint8 [nbytes] from an input."""
        descriptor, path = self.inputs[file]
        data = np.empty(nbytes, np.uint8)
        view, done = memoryview(data), 0
        while done < nbytes:
            try:
                count = os.preadv(descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise StorageError(f"cannot be read: {error.strerror}", file=path) from error
            if not count:
                raise InputError("the file shrank while it was read", file=path)
            done += count
        return data

    def write(self, file: int, offset: int, data: np.ndarray | bytes) -> None:
        """All of a contiguous array into an output."""
        descriptor, path = self.outputs[file]
        view, done = memoryview(data).cast("B"), 0
        while done < len(view):
            try:
                done += os.pwrite(descriptor, view[done:], offset + done)
            except OSError as error:
                raise StorageError(f"cannot be written: {error.strerror}", file=path) from error

    def copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        """Bytes from (input, offset) to (output, offset)."""
        for start in range(0, nbytes, CHUNK):
            count = min(CHUNK, nbytes - start)
            self.write(target[0], target[1] + start, self.read(source[0], source[1] + start, count))
