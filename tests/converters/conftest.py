"""Fixtures of the converters' tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@pytest.fixture
def interrupted_rename(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """`interrupted_rename(number)`: within it, the `number`-th rename is an interrupt instead, which must reach the end."""

    @contextmanager
    def within(number: int) -> Iterator[None]:
        real, calls = os.replace, []

        def interrupted(old, new):
            calls.append(new)
            if len(calls) == number:
                raise KeyboardInterrupt
            real(old, new)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                yield

    return within
