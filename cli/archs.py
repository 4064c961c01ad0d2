"""`ggufx archs`: the architectures, printed from the registry."""

from __future__ import annotations

from .options import LOOK, Json, Quiet
from .output import Output

NAME = "archs"
PANEL = LOOK
EXAMPLES = """\
$ ggufx archs
"""


def command(json_mode: Json = False, quiet: Quiet = False) -> None:
    """List the supported architectures."""
    from ..converters.arch import SPECS, projectors

    out = Output(json_mode, quiet)
    rows = [(name, spec.name, spec.model_type, ", ".join(("text", *projectors.parts_of(name))), spec.example)
            for spec in SPECS for name in spec.classes]
    out.table(["class", "gguf", "model_type", "parts", "example"], rows)
    out.document({"architectures": [
        {"class": c, "gguf": g, "model_type": m, "parts": p.split(", "), "example": e} for c, g, m, p, e in rows]})
