"""The law of tensors that stand for settings in every block: what is made there is recovered from each, and from all alike."""

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.rules.facts import GgufFacts

BY_BLOCK = [(spec, derived) for spec in SPECS for derived in spec.derived if "{b}" in derived.gguf]
HP = {"block_count": 3, "head_length": 4}


@pytest.mark.parametrize(("spec", "derived"), BY_BLOCK, ids=lambda x: getattr(x, "gguf", getattr(x, "name", "")))
def test_a_setting_comes_back_from_its_tensors(spec, derived):
    assert spec.names_of(derived, HP) == [derived.gguf.format(b=b) for b in range(3)]
    settings = {key: value for key, value in spec.defaults.items() if not callable(value)}
    made, config = derived.make(settings, HP), {}
    for _ in range(3):
        derived.recover(made, GgufFacts({}, {}), config)
    assert config.items() <= settings.items()
    with pytest.raises(ValueError, match="expected"):
        derived.recover(made + np.array([0, 0, 0, 1], np.float32), GgufFacts({}, {}), config)
    with pytest.raises(ValueError, match="expected"):
        derived.recover(made + 1, GgufFacts({}, {}), config)
