"""Whether a GGUF file is still the one that was measured, without reading all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..io.files import open_regular, read_at
from ..io.gguf import read_gguf, read_gguf_model

SAMPLE = 4096  # bytes at either end of a tensor's data


def parts(path: Path) -> list[Path]:
    """The files of a GGUF model, given the first. InputError where one is damaged or missing."""
    return list(dict.fromkeys([path, *(tensor.file for tensor in read_gguf_model(path).tensors.values())]))


def size(path: Path) -> int:
    """Bytes of a GGUF model, of a split one in all."""
    return sum(part.stat().st_size for part in parts(path))


def sampled_sha256(path: Path) -> str:
    """SHA-256, as hex digits, of what a GGUF model's files say of themselves and of both ends of each tensor's data.

    Another type, another importance matrix or an edited key give another one; a copy gives the same.
    """
    digest = hashlib.sha256()
    for part in parts(path):
        header = read_gguf(part)
        with open_regular(part) as (file, _):
            digest.update(read_at(file, 0, header.data_offset, part))
            for tensor in header.tensors.values():
                sample = min(SAMPLE, tensor.nbytes)
                for offset in (tensor.offset, tensor.offset + tensor.nbytes - sample):
                    digest.update(read_at(file, offset, sample, part))
    return digest.hexdigest()
