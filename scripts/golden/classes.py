"""Write tests/golden/classes.json: the HF classes that llama.cpp's converter makes language models and encoders of, and
("projectors") those of whose other parts it makes an mmproj file.

Usage: GGUFX_LLAMA_CPP=/path/to/llama.cpp python scripts/golden/classes.py LABEL
LABEL names the version of llama.cpp. The map is parsed, not imported.
"""

import ast
import json
import os
import sys
from pathlib import Path

OUT = Path(__file__).parents[2] / "tests" / "golden" / "classes.json"


def classes(source: str, table: str) -> list[str]:
    """The keys of a map: TEXT_MODEL_MAP, MMPROJ_MODEL_MAP."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == table:
            assert isinstance(node.value, ast.Dict)
            return sorted({ast.literal_eval(key) for key in node.value.keys if key is not None})
    raise SystemExit(f"conversion/__init__.py holds no {table}")


if __name__ == "__main__":
    (label,) = sys.argv[1:]
    source = (Path(os.environ["GGUFX_LLAMA_CPP"]) / "conversion" / "__init__.py").read_text(encoding="utf-8")
    found = {"classes": classes(source, "TEXT_MODEL_MAP"), "projectors": classes(source, "MMPROJ_MODEL_MAP")}
    OUT.write_text(json.dumps({"made by": label, **found}, indent=1) + "\n", encoding="utf-8")
