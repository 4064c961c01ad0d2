"""A short coverage-guided run of every target; `scripts/fuzz all SECONDS` makes long ones."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("adapter", "gguf", "imatrix", "index", "json", "pickle", "safetensors", "sentencepiece", "tokenizer", "zip")


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_two_seconds(target: str):
    done = subprocess.run([sys.executable, ROOT / "scripts" / "fuzz", target, "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
