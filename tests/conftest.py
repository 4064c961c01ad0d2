"""Fixtures shared by all tests: the zoo of tiny models (zoo/models), built once per run in a temporary folder."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Tiny models gain nothing from the threads of torch and BLAS; those of several test processes wait for each other.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# `from zoo.models import MODELS` in any test
sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer: judges llama.cpp on the zoo; runs only with GGUFX_PEER_CHECK=1")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`zoo(name)`: the checkpoint folder of one model. Read only: copy it (`shutil.copytree`) to change it."""
    from zoo.build import build

    root = tmp_path_factory.mktemp("zoo")

    def model(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else build(name, folder)

    return model
