"""Differences that llama.cpp makes nothing of: absent keys and their defaults, scores, token types, names of one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import Metadata, ValueType, array, boolean, f32, string, strings, u32
from ggufx.converters.verify.runtime import SAME_PRE, Runtime, alike
from zoo import peers
from zoo.changed import change_gguf

import ggufx

P = "tokenizer.ggml."
I32, F32 = ValueType.INT32, ValueType.FLOAT32
WORDS = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "ab", "xyz"]


def same(key: str, one: Metadata, two: Metadata) -> bool:
    return alike(key, Runtime(one, "llama"), Runtime(two, "llama"))


def spm(**keys) -> Metadata:
    return {P + "model": string("llama"), P + "tokens": strings(WORDS), **{P + k: v for k, v in keys.items()}}


def bpe(**keys) -> Metadata:
    return spm(model=string("gpt2"), **keys)


def sizes(**keys) -> Metadata:
    base = {"block_count": u32(2), "embedding_length": u32(64), "attention.head_count": u32(4), "context_length": u32(99)}
    return {f"llama.{k.replace('__', '.')}": v for k, v in (base | keys).items()}


@pytest.mark.parametrize(("key", "value"), [
    ("rope.freq_base", f32(10000.0)), ("attention.head_count_kv", u32(4)), ("attention.key_length", u32(16)),
    ("attention.value_length", u32(16)), ("rope.dimension_count", u32(16)), ("rope.scaling.type", string("none")),
    ("rope.scaling.type", string("linear")), ("rope.scaling.factor", f32(1.0)), ("expert_count", u32(0)),
    ("rope.scaling.original_context_length", u32(99)), ("vocab_size", u32(7)), ("attention.causal", boolean(True)),
    ("attention.head_count_kv", array(I32, [4, 4])), ("expert_weights_scale", f32(0.0))])
def test_defaults(key: str, value):
    full = f"llama.{key}"
    assert same(full, sizes(**{key.replace(".", "__"): value}), sizes())
    other = {F32: f32(3.5), ValueType.STRING: string("yarn"), ValueType.BOOL: boolean(False)}.get(value.type, u32(3))
    if key != "vocab_size":  # which is that of the tensors
        assert not same(full, sizes(**{key.replace(".", "__"): other}), sizes())


def test_a_number_in_a_type_that_the_runtime_refuses_is_a_difference():
    one, two = (sizes(rope__freq_base=v) for v in (f32(10000.0), u32(10000)))
    assert not same("llama.rope.freq_base", one, two)


def test_scores_count_where_the_tokenizer_looks_at_them():
    one = array(F32, np.float32([0, 0, 0, 0, -1, -2, -3, -4]))
    never = array(F32, np.float32([9, 9, 9, 9, -9, -9, -3, -9]))  # nothing is joined to any of these
    joined = array(F32, np.float32([0, 0, 0, 0, -1, -2, -9, -4]))
    assert same(P + "scores", spm(scores=one), spm(scores=never))
    assert not same(P + "scores", spm(scores=one), spm(scores=joined))
    assert same(P + "scores", bpe(scores=one), bpe(scores=joined))
    assert same(P + "scores", bpe(scores=one), bpe())


def test_token_types_that_no_runtime_tells_apart():
    def types(*changed: int) -> Metadata:
        return spm(token_type=array(I32, np.int32([*changed, 6, 1, 1, 1, 1])))

    assert same(P + "token_type", types(2, 3, 3), types(3, 3, 3))
    assert same(P + "token_type", types(2, 3, 3), types(2, 3, 4))  # </s> ends a text whatever it is
    assert not same(P + "token_type", types(2, 3, 3), types(2, 4, 3))
    assert not same(P + "token_type", types(2, 3, 3), types(1, 3, 3))


def test_special_tokens_by_default_and_by_text():
    assert same(P + "eos_token_id", spm(eos_token_id=u32(2)), spm())
    assert not same(P + "eos_token_id", spm(eos_token_id=u32(3)), spm())
    assert not same(P + "padding_token_id", spm(padding_token_id=u32(0)), spm())
    assert same(P + "padding_token_id", spm(padding_token_id=u32(99)), spm())  # out of range: none
    turns = {P + "model": string("gpt2"), P + "tokens": strings(["a", "<|im_end|>"])}
    assert same(P + "eot_token_id", {**turns, P + "eot_token_id": u32(1)}, turns)
    assert not same(P + "eot_token_id", {**turns, P + "eot_token_id": u32(0)}, turns)


def test_the_pre_tokenizer():
    assert same(P + "pre", bpe(pre=string("default")), bpe())
    assert not same(P + "pre", bpe(pre=string("qwen2")), bpe())
    assert same(P + "pre", spm(pre=string("default")), spm(pre=string("qwen2")))  # only byte-level BPE reads it
    for group in SAME_PRE:
        assert all(same(P + "pre", bpe(pre=string(name)), bpe(pre=string(group[0]))) for name in group)
    assert same(P + "add_bos_token", bpe(pre=string("llama-bpe"), add_bos_token=boolean(True)), bpe(pre=string("llama-bpe")))


def test_what_cannot_be_computed_with_counts():
    odd = sizes(attention__head_count=string("four"))
    assert not same("llama.attention.key_length", {**odd, "llama.attention.key_length": u32(16)}, odd)
    short = spm(token_type=array(I32, [1]))
    assert not same(P + "token_type", short, spm())


MODELS = ("llama", "llama-mha", "llama-yarn", "llama-longrope", "ministral3", "mixtral", "qwen3moe", "qwen35moe", "gemma2",
          "gemma3", "gemma4", "gpt2", "gptoss", "deepseek2", "deepseek3", "phi4")


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=str(peers.missing_runtime()))
@pytest.mark.parametrize("name", MODELS)
def test_the_runtime_computes_the_same_without_them(name: str, zoo: Callable[[str], Path], converted, tmp_path: Path):
    """llama.cpp is the judge: without any key that is said to make no difference, logits and ids are bit for bit the same."""
    whole = converted(name)
    metadata = read_gguf(whole).metadata
    arch = metadata["general.architecture"].data

    def without(keys: Metadata) -> None:
        for key in list(keys):
            rest = {k: v for k, v in keys.items() if k != key}
            if not key.startswith("general.") and alike(key, Runtime(keys, arch), Runtime(rest, arch)):
                del keys[key]

    short = change_gguf(whole, tmp_path / "short.gguf", keys=without)
    dropped = metadata.keys() - read_gguf(short).metadata.keys()
    assert dropped
    report = ggufx.verify(whole, short)
    assert report.same
    assert report.summary == f"tensors equal, {len(dropped)} settings differ without effect"
    assert not ggufx.verify(whole, short, strict=True).same
    text = ["A small model. 123\n"]
    ids = peers.tokenize(whole, text, add_special=True)
    assert peers.tokenize(short, text, add_special=True) == ids
    assert np.array_equal(peers.llama_logits(whole, ids[0][:20]), peers.llama_logits(short, ids[0][:20]))
