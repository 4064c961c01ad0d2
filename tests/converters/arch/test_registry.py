"""The registry: what is said of an architecture that no table has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ggufx.converters import arch
from ggufx.converters.errors import UnsupportedError
from ggufx.converters.rules.facts import GgufFacts


@pytest.mark.parametrize(("name", "same"), [
    ("Qwen3ForSequenceClassification", "Qwen3ForCausalLM"), ("LlamaForTokenClassification", "LlamaForCausalLM"),
    ("XLMRobertaForTokenClassification", "XLMRobertaModel"), ("gpt2lmheadmodel", None), ("MiniCPM9ForCausalLM", None),
    ("BlumForCausalLM", None), ("Qwen2MeoForCausalLM", None), ("Gemma3oForConditionalGeneration", None), ("x" * 5000, None),
])
def test_a_class_of_the_same_model_is_named_and_none_that_only_looks_alike(name: str, same: str | None):
    with pytest.raises(UnsupportedError) as caught:
        arch.for_config({"architectures": [name]}, "config.json")
    assert caught.value.hint == (f"The same model is supported as {same}. " if same else "") + "`ggufx archs` lists all."


@pytest.mark.parametrize(("name", "same"), [("qwen3-moe", "qwen3moe"), ("gpt_oss", "gpt-oss"), ("blum", None), ("mqt", None)])
def test_a_gguf_architecture_that_is_only_written_otherwise(name: str, same: str | None):
    with pytest.raises(UnsupportedError) as caught:
        arch.for_gguf(name, GgufFacts({}, {}), "a.gguf")
    assert caught.value.hint == (f"The same model is supported as {same}. " if same else "") + "`ggufx archs` lists all."


def test_several_tables_of_one_class_are_told_apart_by_the_config(monkeypatch: pytest.MonkeyPatch):
    spec, *_ = arch.BY_CLASS["LlamaForCausalLM"]
    small, large = (replace(spec, fits=lambda c, few=few: (c["num_hidden_layers"] < 4) is few) for few in (True, False))
    monkeypatch.setitem(arch.BY_CLASS, "LlamaForCausalLM", (small, large))
    assert arch.for_config({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2}, "config.json") is small
    assert arch.for_config({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 9}, "config.json") is large
    monkeypatch.setitem(arch.BY_CLASS, "LlamaForCausalLM", (small,))
    with pytest.raises(UnsupportedError, match="no table of LlamaForCausalLM fits"):
        arch.for_config({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 9}, "config.json")
