"""Fixtures of the converters' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import ggufx


@pytest.fixture(scope="session")
def converted(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`converted(model, outtype)`: the GGUF file of a model of the zoo, without ggufx.* key-values."""
    root = tmp_path_factory.mktemp("gguf")

    def path(name: str, outtype: str = "auto") -> Path:
        out = root / f"{name}-{outtype}.gguf"
        if not out.exists():
            ggufx.hf_to_gguf(zoo(name), out, outtype=outtype, plain=True)
        return out

    return path
