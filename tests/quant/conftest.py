"""Shared by the tests of this folder: `quant_cases` (cases.py) and `ggml` (the library of GGUFX_LIBGGML)."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest


def _load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_load("quant_cases", Path(__file__).with_name("cases.py"))
_load("quant_ggml", Path(__file__).with_name("ggml.py"))


@pytest.fixture(scope="session")
def ggml():
    path = os.environ.get("GGUFX_LIBGGML")
    if not path:
        pytest.skip("GGUFX_LIBGGML is not set: there is no libggml-base.so to compare with")
    return sys.modules["quant_ggml"].Ggml(path)
