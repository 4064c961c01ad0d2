"""Texts that a model is run over, from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .files import open_regular, read_at

MAX_TEXT = 1 << 30  # bytes of all texts together


def read_texts(paths: Sequence[Path]) -> str:
    """The texts of files, one after another; a newline at the end of all is left out, as llama.cpp's tools do with `--file`.

    InputError for what is no UTF-8, or is empty.
    """
    out, size = [], 0
    for path in paths:
        with open_regular(path) as (file, nbytes):
            size += nbytes
            if size > MAX_TEXT:
                raise InputError("the texts are too large", file=path, expected=f"at most {MAX_TEXT} bytes")
            raw = read_at(file, 0, nbytes, path)
        try:
            out.append(raw.decode())
        except UnicodeDecodeError as error:
            raise InputError(f"is no UTF-8 text: byte {error.start}", file=path) from None
        if not raw:
            raise InputError("is empty", file=path)
    return "".join(out).removesuffix("\n")
