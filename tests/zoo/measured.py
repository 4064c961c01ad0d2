"""measure.json beside files, as `ggufx measure --json` writes it, with figures that are made up."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ggufx.converters.measure.measure import Measured
from ggufx.converters.measure.sampled import identity


def write_figures(base: Path, divergences: Mapping[Path, float], **others: Any) -> Path:
    """Of the base, and of files by their divergence; `others`: what else is the same of all of them."""
    rows = []
    for path, value in {base: 0.0, **divergences}.items():
        size, sampled = identity(path)
        rows.append({**{field.name: 0.5 for field in fields(Measured)}, "path": str(path), "size": size, "positions": 4096,
                     "sampled_sha256": sampled, "divergence": value, "divergence_error": 0.001, **others})
    path = base.with_name("measure.json")
    path.write_text(json.dumps({"ok": True, "base": str(base), "files": rows, "exit_code": 0}))
    return path
