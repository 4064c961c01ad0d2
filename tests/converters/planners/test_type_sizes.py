"""What a model would weigh at each type is what its file has then."""

from __future__ import annotations

from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.many_outputs import outtype_names
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.planners.type_sizes import type_sizes
from ggufx.quant.recipes.recipe import FILE_TYPES, PRESETS

import ggufx

TYPES = [row.name.lower() for row in FILE_TYPES.values() if row.number is not None]


@pytest.mark.parametrize("model", ["llama-256", "qwen3moe", "llama"])
def test_of_a_checkpoint(zoo, model: str):
    planner = GgufPlanner(zoo(model), None, GgufOptions())
    sizes = type_sizes(zoo(model), TYPES)
    assert [size.file_type for size in sizes] == TYPES
    check(planner, sizes)


def test_of_a_file(zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "a.gguf", outtype="q8_0")
    planner = QuantizePlanner(tmp_path / "a.gguf", tmp_path / "b.gguf", Quantization(allow_requantize=True))
    check(planner, type_sizes(tmp_path / "a.gguf", TYPES))


def check(planner, sizes) -> None:
    """Against whole plans; those that need an importance matrix are refused for that alone."""
    made = 0
    for size in sizes:
        try:
            plan = planner.plan(size.file_type)
        except GgufxError:
            assert size.needs_imatrix or size.refused, size
            continue
        made += 1
        assert (size.bytes, size.bits_per_weight, size.needs_imatrix) == (
            plan.output_bytes, plan.facts["bits_per_weight"], False)
        assert size.fallbacks == sum(t.wanted is not None for t in plan.tensors)
    assert made > 20


def test_presets_and_slips():
    assert outtype_names("Q4_0, recommended") == ["q4_0", *PRESETS["recommended"][0]]
    assert all(name in TYPES for names, _ in PRESETS.values() for name in names)
    with pytest.raises(GgufxError, match="unknown file type 'recomended'"):
        outtype_names(["recomended", "q8_0"])


def test_every_file_type_says_what_it_is_good_for():
    assert all(row.use for row in FILE_TYPES.values() if row.number is not None)
