"""The laws of hyperparameter rules."""

import pytest
from ggufx.converters.errors import UnsupportedError
from ggufx.converters.rules.facts import GgufFacts, get_path, set_path
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


def test_what_is_set_at_a_path_is_there():
    config: dict = {}
    for path, value in (("a.b", 1), ("m.0", 2.0), ("m.1", 3.0), ("m.0", 4.0), ("c", None)):
        set_path(config, path, value)
    assert config == {"a": {"b": 1}, "m": [4.0, 3.0], "c": None}
    assert get_path(config, "m.1") == 3.0
