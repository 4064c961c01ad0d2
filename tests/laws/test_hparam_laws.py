"""The laws of hyperparameter rules."""

import pytest
from ggufx.converters.errors import UnsupportedError
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hparam_rules import Seen


def test_a_value_that_the_runtime_cannot_compute_with_is_refused_and_no_other():
    rule = Seen("act", lambda facts: "relu", among=("relu", "gated-gelu"))
    for config in ({}, {"act": "relu"}, {"act": "gated-gelu"}, {"act": None}):
        assert rule.write(config, []) == {}
    with pytest.raises(UnsupportedError, match="act has no GGUF form"):
        rule.write({"act": "silu"}, [])
    config: dict = {}
    rule.read(GgufFacts({}, {}), config)
    assert config == {"act": "relu"}
