"""What the tests of runs share."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpreter import Interpreter


@pytest.fixture(scope="module")
def cuda() -> Iterator[Interpreter]:
    """A process in which Triton's kernels are interpreted; it answers calls of `interpreted.py`."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    interpreter = Interpreter(Path(__file__).with_name("interpreted.py"))
    yield interpreter
    interpreter.close()
