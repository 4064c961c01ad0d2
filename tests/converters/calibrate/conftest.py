import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from zoo.matrices import GOLDEN


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[str], Path]:
    """What llama-imatrix wrote, by the name of its case."""
    def unpack(name: str) -> Path:
        path = tmp_path / f"recorded-{name}.gguf"
        path.write_bytes(gzip.decompress((GOLDEN / f"{name}.gguf.gz").read_bytes()))
        return path

    return unpack
