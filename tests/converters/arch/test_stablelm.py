"""StableLM 2 12B: a stack of the norms of heads, as many as there are heads."""

import pytest
from ggufx.converters.arch.stablelm import STABLELM
from ggufx.converters.errors import GgufxError, InputError
from ggufx.converters.rules.match import match_gguf
from zoo.files import changed_copy

from ggufx import hf_to_gguf


def test_a_head_without_its_norm_is_named(zoo, tmp_path):
    folder = changed_copy(zoo("stablelm-12b"), tmp_path / "source", num_attention_heads=2)
    with pytest.raises(GgufxError) as caught:
        hf_to_gguf(folder, tmp_path / "a.gguf")
    assert "q_layernorm.norms.2.weight" in str(caught.value)


def test_a_claim_of_endless_heads_is_refused_at_once():
    problems: list[InputError] = []
    hp = {"block_count": 1, "attention.head_count": 10**9, "head_length": 16}
    match_gguf(STABLELM, hp, {"blk.0.attn_q_norm.weight": "F32"}, "a.gguf", problems)
    assert any("too many HF tensors" in str(p) for p in problems)
