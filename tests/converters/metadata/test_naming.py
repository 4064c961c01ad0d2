"""Parameter counts and file names, against llama.cpp's own where they must be equal."""

from __future__ import annotations

import re

import gguf
import numpy as np
import pytest
from ggufx.converters.io.values import string
from ggufx.converters.metadata.naming import ParameterCount, count_parameters, default_file_name
from hypothesis import example, given
from hypothesis import strategies as st

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
STEMS = st.sampled_from(["token_embd", "blk.0.attn_q", "blk.0.ffn_up_exps", "blk.1.ffn_down_exps", "blk.1.ffn_shexp"])
PLAIN = st.tuples(STEMS, st.sampled_from([".weight", ".bias"]), SHAPES).map(lambda t: [(t[0] + t[1], t[2])])
PAIRS = st.tuples(STEMS, SHAPES, SHAPES).map(
    lambda t: [(f"{t[0]}.weight.lora_a", t[1]), (f"{t[0]}.weight.lora_b", t[2])])
LONE = st.tuples(STEMS, SHAPES).map(lambda t: [(f"{t[0]}.weight.lora_b", t[1])])


@given(st.lists(st.one_of(PLAIN, PAIRS, LONE), max_size=6))
@example([[("blk.0.ffn_up_exps.weight", (8, 32, 16))], [("blk.0.ffn_up_exps.bias", (8, 32))]])
@example([[("blk.0.ffn_up_exps.bias", (2, 8, 32))]])
@example([[("blk.0.attn_q.weight.lora_a", (4, 32))], [("blk.0.attn_q.weight.lora_b", (64, 4))]])
def test_count_is_that_of_the_gguf_writer(groups):
    tensors = dict(tensor for group in groups for tensor in group)
    writer = gguf.GGUFWriter(None, "llama")
    for name, shape in tensors.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4)
    assert count_parameters(tensors.items()) == writer.get_total_parameter_count()


def test_count_of_a_small_mixture():
    tensors = [("token_embd.weight", (100, 16)), ("blk.0.ffn_up_exps.weight", (8, 32, 16))]
    assert count_parameters(tensors) == ParameterCount(total=5696, shared=1600, expert=512, expert_count=8)


def test_count_of_an_adapter_is_negative_and_counts_the_updated_matrix():
    tensors = [("blk.0.attn_q.weight.lora_a", (4, 32)), ("blk.0.attn_q.weight.lora_b", (64, 4))]
    assert count_parameters(tensors).total == -64 * 32


def metadata(**general):
    return {f"general.{key}": string(text) for key, text in general.items()}


@pytest.mark.parametrize(("general", "kind", "expected"), [
    ({"name": "Tiny Llama", "basename": "Llama-3.2", "size_label": "1B", "finetune": "Instruct", "version": "v1.1"},
     "model", "Llama-3.2-1B-Instruct-v1.1-Q4_K_M.gguf"),
    ({"name": "Tiny Llama"}, "model", "Tiny-Llama-Q4_K_M.gguf"),
    ({"name": "org/Some Name"}, "model", "org-Some-Name-Q4_K_M.gguf"),
    ({"name": "x", "size_label": "8x7B"}, "adapter", "x-8x7B-Q4_K_M-LoRA.gguf"),
    ({"name": "x", "size_label": "8x7B", "version": "v2"}, "vocab", "x-v2-vocab.gguf"),
    ({}, "model", "model-Q4_K_M.gguf"),
    ({"name": "通义千问 हिन्दी"}, "model", "通义千问-हिन्दी-Q4_K_M.gguf"),
    ({"name": "../../etc/passwd"}, "model", "etc-passwd-Q4_K_M.gguf"),
    ({"name": "-rf", "version": "C:\\x\n"}, "model", "rf-C--x-Q4_K_M.gguf"),
])
def test_file_names(general, kind, expected):
    assert default_file_name(metadata(**general), "Q4_K_M", kind) == expected


WORDS = st.from_regex(r"[A-Za-z0-9._+-]{1,12}( [A-Za-z0-9]{1,5})?", fullmatch=True).filter(lambda w: w == w.strip("-."))


PARTS = {**dict.fromkeys(("basename", "name", "finetune", "version"), WORDS), "size_label": st.just("8x7B")}


@given(st.fixed_dictionaries({}, optional=PARTS), st.sampled_from(["F16", "IQ2_XXS"]),
       st.sampled_from(["model", "adapter", "vocab"]))
def test_ordinary_names_are_llama_cpps(general, encoding, kind):
    if not {"basename", "name"} & set(general):
        general["name"] = "x"
    vocab = kind == "vocab"
    expected = gguf.naming_convention(
        general.get("name"), general.get("basename"), general.get("finetune"), general.get("version"),
        None if vocab else general.get("size_label"), None if vocab else encoding,
        {"model": None, "adapter": "LoRA", "vocab": "vocab"}[kind])
    assert default_file_name(metadata(**general), encoding, kind) == f"{expected}.gguf"


@given(st.fixed_dictionaries(dict.fromkeys(PARTS, st.text(max_size=400))))
@example({"name": "語" * 300, "basename": "", "finetune": "", "version": "", "size_label": ""})
def test_any_name_is_one_safe_file_name(general):
    name = default_file_name(metadata(**general), "F16")
    assert re.fullmatch(r"\S+-F16\.gguf", name)
    assert not re.search(r"[/\\\x00-\x20:*?\"<>|]|^[-.]", name)
    assert len(name.encode()) <= 205
