"""What a run keeps on the disk until its matrix is written: hidden states between two layers, and how far it came.

A folder beside the matrix: `states-N`, float32 [chunks, tokens, width] that go into layer N; `layer-N.npz`, what was counted in
it; `journal.json`, which is replaced once a layer is complete. A run that was stopped goes on after the last complete layer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import system
from ..errors import StorageError, UsageError
from ..io.imatrix_file import Entry
from ..io.json_file import read_json
from ..io.whole_files import write_text

SUFFIX = ".calibration"


class States:
    """`done`: how many layers are complete."""

    def __init__(self, outfile: Path, key: Mapping[str, Any], shape: tuple[int, int, int], resume: bool) -> None:
        """`key`: what a stopped run must agree in to go on. UsageError where it does not; StorageError where the disk has no
        room for states twice."""
        self.folder = outfile.with_name(outfile.name + SUFFIX)
        self._key, self.shape, self.done = dict(key), shape, 0
        self.begun = False
        self._journal = self.folder / "journal.json"
        if resume and self._journal.is_file():
            found = read_json(self._journal)
            if found.get("key") != self._key:
                raise UsageError("a run that was stopped left this, of other options, texts or weights", file=self.folder,
                                 hint="Leave out --resume to begin anew.")
            self.done, self.begun = int(found["done"]), True
            return
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise StorageError(f"cannot be made: {error.strerror}", file=self.folder) from error
        if (needed := 8 * int(np.prod(shape))) > free:
            self.folder.rmdir()
            raise StorageError("the disk has too little room for what the model computes between its layers", file=self.folder,
                               expected=f"{needed} bytes", found=free, hint="Give fewer --chunks.")

    def open(self, layer: int, mode: str = "r+b") -> Any:
        """The file of the states that go into this layer."""
        try:
            return (self.folder / f"states-{layer}").open(mode)
        except OSError as error:
            raise StorageError(f"cannot be opened: {error.strerror}", file=self.folder / f"states-{layer}") from error

    def read(self, file: Any, chunk: int) -> np.ndarray:
        """float32 [tokens, width]."""
        _, tokens, width = self.shape
        file.seek(4 * chunk * tokens * width)
        raw = file.read(4 * tokens * width)
        if len(raw) != 4 * tokens * width:
            raise StorageError("is cut", file=file.name)
        return np.frombuffer(raw, np.float32).reshape(tokens, width).copy()

    def write(self, file: Any, chunk: int, states: np.ndarray) -> None:
        """float32 [tokens, width]."""
        try:
            file.seek(4 * chunk * states.size)
            file.write(np.ascontiguousarray(states, np.float32).data)
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", file=file.name) from error

    def complete(self, layer: int, entries: Mapping[str, Entry]) -> None:
        """Layer `layer` (-1: the embedding) is done: its states are written and what was counted is `entries`."""
        try:
            with open(self.folder / f"layer-{layer}.npz", "wb") as counted:
                arrays = {f"{name}/{part}": array for name, entry in entries.items()
                          for part, array in (("sums", entry.sums), ("counts", entry.counts))}
                np.savez(counted, **arrays)  # type: ignore[arg-type]
                counted.flush()
                system.sync_file(counted.fileno())
            self.done = layer + 1
            write_text(self._journal, json.dumps({"key": self._key, "done": self.done}))
            (self.folder / f"states-{layer}").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", file=self.folder) from error

    def entries(self) -> dict[str, Entry]:
        """Of all complete layers."""
        out = {}
        for layer in range(self.done):
            with np.load(self.folder / f"layer-{layer}.npz") as found:
                out.update({name.removesuffix("/sums"): Entry(found[name], found[name.removesuffix("sums") + "counts"])
                            for name in found.files if name.endswith("/sums")})
        return out

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
