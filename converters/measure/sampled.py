"""Whether a GGUF file is still the one that was measured, without reading all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..io.files import open_regular, read_at
from ..io.gguf import read_gguf, read_gguf_model

SAMPLE = 4096  # bytes at either end of a tensor's data


def identity(path: Path) -> tuple[int, str]:
    """Bytes of a GGUF model, given its first file, of a split one in all; and SHA-256, as hex digits, of what its files say of
    themselves and of both ends of each tensor's data. InputError where a file is damaged or missing.

    Another type, another importance matrix or an edited key give another one; a copy gives the same.
    """
    digest, total = hashlib.sha256(), 0
    for part in dict.fromkeys([path, *(tensor.file for tensor in read_gguf_model(path).tensors.values())]):
        header = read_gguf(part)
        with open_regular(part) as (file, size):
            total += size
            digest.update(read_at(file, 0, header.data_offset, part))
            for tensor in header.tensors.values():
                sample = min(SAMPLE, tensor.nbytes)
                for offset in (tensor.offset, tensor.offset + tensor.nbytes - sample):
                    digest.update(read_at(file, offset, sample, part))
    return total, digest.hexdigest()
