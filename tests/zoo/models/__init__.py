"""The zoo: tiny real models of every supported architecture, as rows of data: one module per family, as in converters/arch.

Weights come from `fill.parameter`, keyed by the row and the tensor's name on disk, so that a row has the same bytes
everywhere. `build.build(name, folder)` writes the folder as `save_pretrained` of transformers 5 would (`rope_parameters`,
`dtype`), or, for the names that end in "-v4", as the models on the Hub that transformers 4 wrote.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ggufx.converters.arch import FAMILIES

from .rows import NONE, V4, Fault, Model

__all__ = ["MODELS", "NONE", "ROWS", "V4", "Fault", "Model"]


def _rows() -> tuple[Model, ...]:
    """In the order of the registry of tables; then families that have none yet."""
    listed = [module.__name__.rpartition(".")[2] for module in FAMILIES]
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "rows"))
    names = [*(name for name in listed if name in found), *(name for name in found if name not in listed)]
    return tuple(row for name in names for row in import_module(f".{name}", __name__).ROWS)


ROWS = _rows()
MODELS: dict[str, Model] = {}
for _row in ROWS:
    _forms = [_row] + ([replace(_row, name=f"{_row.name}-v4", old=True, fault=_row.v4.fault)] if _row.v4 else [])
    for _form in _forms:
        assert _form.name not in MODELS, f"two rows are called {_form.name}"
        MODELS[_form.name] = _form
