"""What a run keeps on the disk until its matrix is written: what goes from layer to layer, and how far it came.

A folder beside the matrix: `hidden-N`, the states that go into layer N; `given-N`, what else of the text it is called with;
`shared-N-NAME`, what layer N keeps for those behind it; each chunk by chunk. `layer-N.npz`, what was counted in a layer;
`journal.json`, which is replaced once it is complete. A run that was stopped goes on after the last complete layer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import system
from ..errors import StorageError, UsageError
from ..io.imatrix_file import Entry
from ..io.json_file import read_json
from ..io.whole_files import write_text

SUFFIX = ".calibration"
SHARED = "shared-"


class States:
    """`done`: how many layers are complete."""

    def __init__(self, outfile: Path, key: Mapping[str, Any], chunks: int, resume: bool) -> None:
        """`key`: what a stopped run must agree in to go on. UsageError where it does not."""
        self.folder = outfile.with_name(outfile.name + SUFFIX)
        self._key, self._chunks, self.done = dict(key), chunks, 0
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
        except OSError as error:
            raise StorageError(f"cannot be made: {error.strerror}", file=self.folder) from error

    def reserve(self, chunk: int) -> None:
        """StorageError where the disk has no room for so many bytes of each chunk."""
        needed, free = self._chunks * chunk, shutil.disk_usage(self.folder).free
        if needed > free:
            self.remove()
            raise StorageError("the disk has too little room for what the model computes between its layers", file=self.folder,
                               expected=f"{needed} bytes", found=free, hint="Give fewer --chunks.")

    def keep(self, name: str, chunk: int, arrays: Sequence[np.ndarray]) -> None:
        """The arrays of a chunk; chunks come in order, and each has arrays of the same shapes."""
        path = self.folder / name
        try:
            with path.open("ab" if chunk else "wb") as file:
                for array in arrays:
                    np.save(file, array)
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", file=path) from error

    def kept(self, name: str, chunk: int) -> list[np.ndarray]:
        """What `keep` was given."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                size = path.stat().st_size // self._chunks
                file.seek(chunk * size)
                arrays = []
                while file.tell() < (chunk + 1) * size:
                    arrays.append(np.load(file, allow_pickle=False))
                return arrays
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror}", file=path) from error
        except (ValueError, EOFError) as error:
            raise StorageError("is cut", file=path) from error

    def shared(self, layer: int) -> dict[str, str]:
        """What layers in front of this one keep for those behind them: names for `kept`, by theirs; the last layer's."""
        found = [path.name.split("-", 2) for path in self.folder.glob(SHARED + "*")]
        return {name: f"{SHARED}{number}-{name}" for _, number, name in sorted(found, key=lambda one: int(one[1]))
                if int(number) < layer}

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
            for kind in ("hidden", "given"):
                (self.folder / f"{kind}-{layer}").unlink(missing_ok=True)
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
