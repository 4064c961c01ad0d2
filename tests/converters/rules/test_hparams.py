"""Values per block among the hyperparameters of a file."""

import pytest
from ggufx.converters.rules.hparams import PerBlock


def test_a_list_per_block_is_not_taken_for_one_number():
    """A list times a size would be a list of that length."""
    heads = PerBlock([8, 8])
    for product in (lambda: heads * 2, lambda: 2 * heads, lambda: heads.__imul__(2)):
        with pytest.raises(TypeError, match="a value for each block is not one number"):
            product()
