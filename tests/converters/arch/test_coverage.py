"""Every class of llama.cpp's converter has a table, or stands here with the reason why not.

tests/golden/classes.json holds the converter's classes (scripts/golden/classes.py).
"""

import json
from pathlib import Path

import pytest
from ggufx.converters.arch import BY_CLASS, for_config
from ggufx.converters.arch.refused import REFUSED, WHY
from ggufx.converters.errors import UnsupportedError

PEER = set(json.loads((Path(__file__).parents[2] / "golden" / "classes.json").read_text(encoding="utf-8"))["classes"])
NOT_CARRIED = {
    **{reason: {*names} for reason, names in REFUSED.items()},
    "not yet": {
        "BailingMoeV3ForCausalLM", "BailingMoeV3VLForConditionalGeneration", "DeepseekV4ForCausalLM", "Dots3NoteForCausalLM",
        "Dots3NoteForConditionalGeneration", "Dots3NoteTextForCausalLM",
        "KimiK3ForConditionalGeneration",
        "MuseGlimmerForConditionalGeneration", "Qwen4ExpForCausalLM",
        "Qwen4ExpForConditionalGeneration", },
}


def test_no_class_of_llama_cpps_converter_is_forgotten():
    named = set().union(*NOT_CARRIED.values())
    assert sorted(PEER - set(BY_CLASS) - named) == []
    assert sorted(named & set(BY_CLASS)) == [], "carried by now"
    assert sorted(named - PEER) == [], "no class of llama.cpp's"


@pytest.mark.parametrize("name", WHY)
def test_the_reason_is_told(name: str):
    with pytest.raises(UnsupportedError, match="is not supported: ") as caught:
        for_config({"architectures": [name]}, "config.json")
    assert WHY[name] in caught.value.message
