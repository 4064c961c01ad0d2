"""Classes of llama.cpp's converter that have no table, by the reason why, which their refusal names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

NOT_CARRIED: Mapping[str, Collection[str]] = {
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
    "a table of experts by token, whole numbers that no operation writes yet": {
        "DeepseekV4ForCausalLM"},
    "constants of its hashes, whole numbers of 64 bits that become keys, and a table spread over many tensors": {
        "Qwen4ExpForCausalLM", "Qwen4ExpForConditionalGeneration"},
}
