"""Every class of llama.cpp's converter has a table, or stands here with the reason why not.

tests/golden/classes.json holds the converter's classes (scripts/golden/classes.py).
"""

import json
from pathlib import Path

from ggufx.converters.arch import BY_CLASS

PEER = set(json.loads((Path(__file__).parents[2] / "golden" / "classes.json").read_text(encoding="utf-8"))["classes"])
NOT_CARRIED = {
    "a draft inside of a DeepSeek V4, of whose blocks there is no table yet": {
        "DeepseekV4DSparkModel"},
    "speech and codecs, in other files than a checkpoint's": {
        "Lfm25AudioTokenizer", "PocketTTSModel", "Qwen3TTSForConditionalGeneration", "WavTokenizerDec"},
    "a vocabulary in a file of its own kind (tokenizer.jsonl)": {
        "PLaMo2ForCausalLM", "PLaMo3ForCausalLM", "Plamo2ForCausalLM", "Plamo3ForCausalLM"},
    "no language model in the checkpoint; llama.cpp's converter refuses its text, too": {
        "UltravoxModel"},
    "weights that the converter changes for good (ternary)": {
        "BitNetForCausalLM", "BitnetForCausalLM"},
    "published as pieces per GPU, which are not joined yet": {
        "MiMoV2ForCausalLM"},
    "adapters inside of the checkpoint": {
        "GraniteSwitchForCausalLM"},
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
