"""Every class of whose towers llama.cpp's converter makes an mmproj file has a table.

tests/golden/classes.json holds the converter's classes (scripts/golden/classes.py).
"""

import json
from pathlib import Path

from ggufx.converters.arch.projectors import BY_CLASS

PEER = set(json.loads((Path(__file__).parents[3] / "golden" / "classes.json").read_text(encoding="utf-8"))["projectors"])


def test_no_class_of_llama_cpps_converter_is_forgotten():
    assert sorted(PEER - set(BY_CLASS)) == []
