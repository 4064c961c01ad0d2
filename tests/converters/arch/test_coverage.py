"""Every class of llama.cpp's converter has a table, or a reason why not, which its refusal names.

tests/golden/classes.json holds the converter's classes (scripts/golden/classes.py).
"""

import json
from pathlib import Path

import pytest
from ggufx.converters.arch import BY_CLASS, for_config
from ggufx.converters.arch.refused import REFUSED, WHY
from ggufx.converters.errors import UnsupportedError

PEER = set(json.loads((Path(__file__).parents[2] / "golden" / "classes.json").read_text(encoding="utf-8"))["classes"])


def test_no_class_of_llama_cpps_converter_is_forgotten():
    named = set().union(*REFUSED.values())
    assert sorted(PEER - set(BY_CLASS) - named) == []
    assert sorted(named & set(BY_CLASS)) == [], "carried by now"
    assert sorted(named - PEER) == [], "no class of llama.cpp's"


@pytest.mark.parametrize("name", WHY)
def test_the_reason_is_told(name: str):
    with pytest.raises(UnsupportedError, match="is not supported: ") as caught:
        for_config({"architectures": [name]}, "config.json")
    assert WHY[name] in caught.value.message
