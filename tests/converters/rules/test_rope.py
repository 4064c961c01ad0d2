"""Rotary settings of config.json: what transformers computes with, whatever is said, twice, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
from ggufx.converters import arch
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hf_config import LAYER_KINDS, canonical
from ggufx.converters.rules.rope import CONTEXTS, LAST_BITS, Rope, _frequencies, _llama3_divisors, _recover_llama3

ONE = {"vocab_size": 64, "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 256}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def ours(name: str, **config) -> dict:
    config = {**ONE, "architectures": [name], **config}
    return canonical(config, arch.for_config(config, ""), "config.json")


@pytest.mark.parametrize("spec", arch.SPECS, ids=lambda spec: spec.classes[0])
def test_a_config_that_says_nothing(spec):
    """The class's own settings, as the class of transformers fills them in."""
    import transformers

    if not any(isinstance(rule, Rope) for rule in spec.hparams):
        pytest.skip("no rotary positions")
    (spec,) = [spec.whole.text] if spec.whole else [spec]
    if not hasattr(transformers, spec.classes[0]):
        pytest.skip("transformers has no such class")
    if spec.inside:
        pytest.skip("its settings stand in text_config, which is another class's")
    held = getattr(transformers, spec.classes[0]).config_class().get_text_config(decoder=True).rope_parameters
    held = held.get("main", held)  # DeepSeek V4's has another for compressed attention
    found = ours(spec.classes[0])["rope_parameters"]
    for kind in ("full_attention", "sliding_attention") if "full_attention" in {**found, **held} else ("",):
        mine, theirs = (dict(rope.get(kind, rope)) for rope in (found, held))
        if mine["rope_type"] == "default":
            mine.pop("original_max_position_embeddings", None)  # Phi-3 states it beside them
        if mine.get("partial_rotary_factor") == 1.0:
            del mine["partial_rotary_factor"]  # the whole head, as if nothing were said
        if spec.name == "qwen4exp":
            assert mine.pop("partial_rotary_factor") == 0.25  # its modelling's own, which its config does not hold
        assert mine == {k: v for k, v in theirs.items() if k in mine}
        assert mine["rope_type"] == theirs["rope_type"]


@pytest.mark.parametrize("given", [
    {"rope_parameters": DEFAULT, "rope_scaling": YARN},
    {"rope_parameters": DEFAULT | {"rope_theta": 5e5}, "rope_scaling": YARN | {"rope_theta": 5e5}},
    {"rope_parameters": YARN | DEFAULT, "rope_scaling": {"type": "linear", "factor": 2.0}},
    {"rope_parameters": DEFAULT, "rope_scaling": None},
    {"rope_parameters": DEFAULT, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}])
def test_scaling_beside_parameters_wins_as_in_transformers(given: dict):
    from transformers import Qwen3Config

    held = Qwen3Config(**ONE, **deepcopy(given)).rope_parameters
    found = ours("Qwen3ForCausalLM", **deepcopy(given))
    kept = {k: v for k, v in found["rope_parameters"].items() if k != "original_max_position_embeddings"}
    assert kept == {k: v for k, v in held.items() if k in kept}
    keys = Rope().write(found, [])
    context = keys.get("rope.scaling.original_context_length")
    assert (context and context.data) == (held.get("original_max_position_embeddings") if held["rope_type"] == "yarn" else None)


@pytest.mark.parametrize(("name", "given"), [
    ("Qwen3ForCausalLM", {"rope_parameters": DEFAULT | {"rope_theta": 1e6}, "rope_scaling": YARN}),
    ("Gemma4ForCausalLM", {"rope_parameters": {k: DEFAULT for k in LAYER_KINDS}, "rope_scaling": YARN})])
def test_scaling_that_would_take_more_away_is_refused(name: str, given: dict):
    with pytest.raises(InputError, match="rope_scaling stands beside rope_parameters"):
        ours(name, **given)


def test_scaling_beside_the_parameters_of_gemma3_goes_to_its_full_attention():
    from transformers import Gemma3TextConfig

    given = {"rope_parameters": {"full_attention": DEFAULT | {"rope_theta": 1e6}, "sliding_attention": DEFAULT},
             "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    held = Gemma3TextConfig(**ONE, **deepcopy(given)).rope_parameters
    assert ours("Gemma3ForCausalLM", **given)["rope_parameters"] == held


def test_dynamic_scaling_is_none_within_the_context_and_said():
    notes: list[str] = []
    config = ours("LlamaForCausalLM", rope_theta=5e6, rope_scaling={"type": "dynamic", "factor": 2.0})
    assert {key: value.data for key, value in Rope().write(config, notes).items()} == {"rope.freq_base": 5e6}
    assert "dynamic" in notes[0]
    config = ours("LlamaForCausalLM", rope_scaling={"type": "dynamic", "alpha": 1000.0})
    with pytest.raises(UnsupportedError, match="dynamic"):  # it acts on every text
        Rope().write(config, notes)


# ------------------------------------------------------------------------------------------ llama3: a tensor of divisors

BASES, SIZES, FACTORS = (10000.0, 500000.0, 1e6, 123456.0), (16, 64, 80, 128), (4.0, 8.0, 32.0)
POINTS = ((1.0, 4.0, 8192), (1.0, 4.0, 64), (1.0, 64.0, 64), (1.0, 32.0, 4096), (2.0, 5.0, 3000), (1.0, 4.0, 1000))


def divisors(size: int, base: float, factor: float, low: float, high: float, context: int) -> np.ndarray:
    return _llama3_divisors(_frequencies(size, base), factor, low, high, context)


def test_divisors_are_the_bits_of_torch_where_no_vector_unit_rounds_powers():
    """As llama.cpp's converter makes them, in a process of its own: torch reads ATEN_CPU_CAPABILITY when it is loaded."""
    cases = [(s, b, f, *p) for s in SIZES for b in BASES for f in FACTORS for p in POINTS]
    code = """
import json, math, sys, torch
for size, base, factor, low, high, context in json.loads(sys.stdin.read()):
    made = []
    for freq in 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)):
        length = 2 * math.pi / freq
        smooth = (context / length - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        made.append(1 if length < context / high else factor if length > context / low else between)
    print(torch.tensor(made, dtype=torch.float32).numpy().tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(cases), capture_output=True, text=True, check=True,
                          env={**os.environ, "ATEN_CPU_CAPABILITY": "default"})
    for case, line in zip(cases, done.stdout.split(), strict=True):
        assert divisors(*case).tobytes().hex() == line, case


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("points", POINTS)
def test_the_simplest_settings_that_make_the_divisors(size: int, points: tuple):
    for base in BASES:
        for factor in FACTORS:
            made = divisors(size, base, factor, *points)
            config = {"rope_parameters": {"rope_theta": base}}
            _recover_llama3(made, GgufFacts({}, {}), config)
            rope = config["rope_parameters"]
            found = tuple(rope[k] for k in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
            again = divisors(size, base, rope["factor"], *found)
            assert rope["factor"] == factor
            if size == 16:  # with one divisor between the points these are only known to lie within bounds
                np.testing.assert_allclose(again, made, rtol=LAST_BITS)
                continue
            assert np.array_equal(again, made)
            assert all(len(f"{x:g}") <= 4 for x in found[:2]), found
            if points[0] == 1.0 and points[2] in CONTEXTS:
                assert found == points


def test_divisors_of_other_machines_are_read_as_well():
    made = divisors(128, 500000.0, 8.0, 1.0, 4.0, 8192)
    other = np.where(made > 1, np.nextafter(made, np.float32(2)), made)
    config = {"rope_parameters": {"rope_theta": 500000.0}}
    _recover_llama3(np.where(made == 8, made, other), GgufFacts({}, {}), config)
    assert config["rope_parameters"]["original_max_position_embeddings"] == 8192


def test_divisors_that_are_none_are_refused():
    for other in (np.float32([1, 2, 1, 8]), np.float32([8, 1, 1, 1])):
        with pytest.raises(UnsupportedError, match="not a llama3 rotary scaling"):
            _recover_llama3(other, GgufFacts({}, {}), {"rope_parameters": {"rope_theta": 10000.0}})
