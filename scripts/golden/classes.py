"""Write tests/golden/classes.json: the HF classes that llama.cpp's converter makes language models and encoders of.

Usage: GGUFX_LLAMA_CPP=/path/to/llama.cpp python scripts/golden/classes.py LABEL
LABEL names the version of llama.cpp. The map is parsed, not imported.
"""

import ast
import json
import os
import sys
from pathlib import Path

OUT = Path(__file__).parents[2] / "tests" / "golden" / "classes.json"


def classes(source: str) -> list[str]:
    """The keys of TEXT_MODEL_MAP."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "TEXT_MODEL_MAP":
            assert isinstance(node.value, ast.Dict)
            return sorted({ast.literal_eval(key) for key in node.value.keys if key is not None})
    raise SystemExit("conversion/__init__.py holds no TEXT_MODEL_MAP")


if __name__ == "__main__":
    (label,) = sys.argv[1:]
    found = classes((Path(os.environ["GGUFX_LLAMA_CPP"]) / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    OUT.write_text(json.dumps({"made by": label, "classes": found}, indent=1) + "\n", encoding="utf-8")
