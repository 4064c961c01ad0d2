"""Tiny multimodal models for their projectors, as rows of data: one module per family, as in converters/arch/projectors.

A `Tower` is a `Model` with a whole tower and the processor files beside it. llama.cpp's converter counts names by the
number of blocks, so a tower has at least four.
"""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ggufx.converters.arch.projectors import FAMILIES

from ..build import build_row
from ..models.rows import DECODER, Model
from ..vocab import dump

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TEXT = DECODER | {"num_hidden_layers": 1}


@dataclass(frozen=True)
class Tower:
    """`processor`: preprocessor_config.json; `files`: other JSON files of the folder. `fault`: what llama.cpp's converter does
    wrong with it, and `drop`: key-values and tensors that differ for it; `hopeless`: it makes no file at all. `lost`: tensors that
    do not come back bit for bit from an F16 file, and why not. `tolerance`: how far the runtime's features may be from
    transformers', as a part of their deviation; None: not compared."""

    model: Model
    processor: dict[str, Any] = field(default_factory=lambda: HALF)
    files: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    drop: tuple[str, ...] = ()
    hopeless: bool = False
    tolerance: float | None = None

    @property
    def name(self) -> str:
        return self.model.name


def _towers() -> dict[str, Tower]:
    names = [module.__name__.rpartition(".")[2] for module in FAMILIES]
    found = {path.stem for path in Path(__file__).parent.glob("*.py")}
    rows = [row for name in names if name in found for row in import_module(f".{name}", __name__).ROWS]
    return {row.name: row for row in rows}


def build_tower(row: Tower, folder: Path, seed: int = 0) -> Path:
    """Write the folder of a row, as `build`."""
    build_row(row.model, folder, seed)
    for name, content in {"preprocessor_config.json": row.processor, **row.files}.items():
        if content:
            dump(folder / name, content)
    return folder


TOWERS = _towers()
