"""What is declared of a quantization, wherever it stands: its method, its settings, and methods that are not decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import GgufxError
from ...io.json_file import read_json
from ..quantized import FILES, KEYS


def declared_settings(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of all declarations together: what stands first counts, later ones add what it lacks."""
    inner = config.get("text_config")
    found = [holder.get(key) for holder in (config, inner) if isinstance(holder, Mapping) for key in KEYS]
    for name in FILES:
        try:
            found.append(read_json(folder / name))
        except GgufxError:
            continue  # not there, or not to be read: the tensors tell
    out: dict[str, Any] = {}
    for settings in found:
        for part in (settings, settings.get("quantization")) if isinstance(settings, Mapping) else ():
            if isinstance(part, Mapping):
                out = {**part, **out}
    return out
