"""A GGUF file that is laid out is one that the reader takes, with every tensor where the plan writes it."""

from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import ManyErrors, UnsupportedError
from ggufx.converters.io.gguf import planned_header
from ggufx.converters.io.values import string, u32
from ggufx.converters.plan.gguf_output import gguf_output
from ggufx.converters.plan.plan import PlannedTensor

PATH = Path("x.gguf")
KEYS = {"general.architecture": string("llama")}
FACTORS = np.arange(3, dtype=np.float32)
TENSORS = [PlannedTensor("rope_freqs.weight", "F32", (3,)), PlannedTensor("a", "Q8_0", (5, 32)),
           PlannedTensor("b", "F16", (7,))]


@pytest.mark.parametrize("alignment", [None, 8, 32, 64])
def test_the_reader_finds_what_is_laid_out(alignment):
    keys = KEYS if alignment is None else {**KEYS, "general.alignment": u32(alignment)}
    made = gguf_output(PATH, keys, TENSORS, {"rope_freqs.weight": FACTORS})
    (file,) = made.files
    found = planned_header(file.head, file.size, PATH)
    assert found.metadata == keys
    assert found.alignment == (alignment or 32)
    assert {n: (t.offset, t.type, t.shape) for n, t in found.tensors.items()} \
        == {n: (r.offset, r.type, r.shape) for n, r in made.regions.items()}
    last = made.regions["b"]
    assert 0 <= file.size - (last.offset + last.nbytes) < found.alignment
    assert file.size % found.alignment == 0
    at = made.regions["rope_freqs.weight"].offset
    assert np.array_equal(np.frombuffer(file.head, np.float32, 3, at), FACTORS)
    assert len(file.head) == made.regions["a"].offset


def test_without_tensors():
    (file,) = gguf_output(PATH, KEYS, []).files
    assert len(file.head) == file.size
    assert planned_header(file.head, file.size, PATH).tensors == {}


@pytest.mark.parametrize("value", [u32(0), u32(48), u32(1 << 30), string("32")], ids=str)
def test_an_alignment_that_is_none(value):
    with pytest.raises(UnsupportedError, match=r"general\.alignment"):
        gguf_output(PATH, {**KEYS, "general.alignment": value}, TENSORS)


def test_what_gguf_cannot_hold_is_said_together():
    tensors = [PlannedTensor("x" * 64, "F32", (3,)), PlannedTensor("a", "Q8_0", (5, 33)), PlannedTensor("b", "F32", (1,) * 5)]
    with pytest.raises(ManyErrors) as caught:
        gguf_output(PATH, KEYS, tensors)
    assert len(caught.value.problems) == 3


def test_literal_tensors_come_first():
    with pytest.raises(ValueError, match="literal"):
        gguf_output(PATH, KEYS, TENSORS[::-1], {"rope_freqs.weight": FACTORS})
