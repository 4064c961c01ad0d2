"""OLMo 2 and OLMoE: what the runtime computes otherwise is refused."""

import pytest
from ggufx.converters.errors import GgufxError
from zoo.files import changed_copy

from ggufx import hf_to_gguf


@pytest.mark.parametrize(("model", "key", "value"), [
    ("olmo2", "tie_word_embeddings", True), ("olmoe", "clip_qkv", 8.0), ("olmoe", "norm_topk_prob", True)])
def test_a_setting_that_the_runtime_does_not_have_is_refused(zoo, tmp_path, model, key, value):
    folder = changed_copy(zoo(model), tmp_path / "source", **{key: value})
    with pytest.raises(GgufxError, match=key):
        hf_to_gguf(folder, tmp_path / "a.gguf")
