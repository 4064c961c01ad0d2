"""Rotary settings of config.json: what transformers computes with, whatever is said, twice, or not at all."""

from __future__ import annotations

from copy import deepcopy

import pytest
from ggufx.converters import arch
from ggufx.converters.errors import InputError
from ggufx.converters.rules.hf_config import LAYER_KINDS, canonical
from ggufx.converters.rules.rope import Rope

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
    held = getattr(transformers, spec.classes[0]).config_class().rope_parameters
    found = ours(spec.classes[0])["rope_parameters"]
    for kind in ("full_attention", "sliding_attention") if "full_attention" in found else ("",):
        mine, theirs = (dict(rope.get(kind, rope)) for rope in (found, held))
        if mine["rope_type"] == "default":
            mine.pop("original_max_position_embeddings", None)  # Phi-3 states it beside them
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
