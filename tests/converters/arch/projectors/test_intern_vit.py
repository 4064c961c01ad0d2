"""Of which towers of InternViT is said that the runtime norms queries and keys otherwise."""

import pytest
from ggufx.converters.arch.projectors.intern_vit import normed


@pytest.mark.parametrize(("vision", "expected"), [
    ({"use_qk_norm": True, "hidden_size": 1024, "num_hidden_layers": 24}, True),
    ({"qk_normalization": True, "hidden_size": 1024, "num_hidden_layers": 24}, True),
    ({"qk_normalization": True, "hidden_size": 3200, "num_hidden_layers": 45}, False),
    ({"qk_normalization": False, "hidden_size": 1024, "num_hidden_layers": 24}, False)])
def test_the_tower_of_45_blocks_is_right(vision: dict, expected: bool):
    assert normed({"vision_config": vision}) is expected
