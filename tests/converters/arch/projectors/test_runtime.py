"""What llama.cpp's mtmd makes of a picture or a sound with our pair of files, against transformers' features."""

import pytest
from zoo import peers
from zoo.tower_trial import Trial
from zoo.towers import TOWERS

pytestmark = pytest.mark.skipif(peers.missing_runtime() is not None, reason=str(peers.missing_runtime()))


# Of which transformers made models of other sizes, or none, of what came back of a pair of others.
REBUILT = ("gemma4-ear", "qwen3asr-ear", "gemma4-unified-eye", "exaone4-5-eye",
           "internvl-hf-eye", "glm4v-eye", "glmocr-eye", "llama4-eye", "minicpmv-eye",
           "lfm2vl-eye", "paddleocr-eye", "lighton-eye")


@pytest.mark.parametrize("name", REBUILT)
def test_what_comes_back_of_a_pair_of_others_is_the_same_model_in_transformers(name: str, tmp_path):
    ok, figure, why = Trial(TOWERS[name], tmp_path).loads()
    assert ok, (figure, why)


@pytest.mark.parametrize("name", [name for name, row in TOWERS.items() if row.features])
def test_features_are_those_of_transformers(name: str, tmp_path):
    ok, figure, why = Trial(TOWERS[name], tmp_path).features()
    assert ok, (figure, why)
