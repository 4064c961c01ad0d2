"""What llama.cpp's mtmd makes of a picture or a sound with our pair of files, against transformers' features."""

import pytest
from zoo import peers
from zoo.tower_trial import Trial
from zoo.towers import TOWERS

pytestmark = pytest.mark.skipif(peers.missing_runtime() is not None, reason=str(peers.missing_runtime()))


@pytest.mark.parametrize("name", [name for name, row in TOWERS.items() if row.features])
def test_features_are_those_of_transformers(name: str, tmp_path):
    ok, figure, why = Trial(TOWERS[name], tmp_path).features()
    assert ok, (figure, why)
