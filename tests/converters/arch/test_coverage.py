"""Every class of llama.cpp's converter has a table, or a reason why not, which its refusal names.

tests/golden/classes.json holds the converter's classes (scripts/golden/classes.py).
"""

import json
import re
from pathlib import Path

import pytest
from ggufx.converters.arch import BY_CLASS, for_config
from ggufx.converters.arch.not_carried import NOT_CARRIED
from ggufx.converters.errors import UnsupportedError

PEER = set(json.loads((Path(__file__).parents[2] / "golden" / "classes.json").read_text(encoding="utf-8"))["classes"])


def test_no_class_of_llama_cpps_converter_is_forgotten():
    named = set().union(*NOT_CARRIED.values())
    assert sorted(PEER - set(BY_CLASS) - named) == []
    assert sorted(named & set(BY_CLASS)) == [], "carried by now"
    assert sorted(named - PEER) == [], "no class of llama.cpp's"


def test_a_refusal_names_the_reason():
    for reason, classes in NOT_CARRIED.items():
        for name in classes:
            with pytest.raises(UnsupportedError, match=f"{name}' is not supported: {re.escape(reason)}"):
                for_config({"architectures": [name]}, "config.json")
