"""Command-R: what the runtime goes by the number of blocks for is refused where it differs."""

import pytest
from ggufx.converters.errors import GgufxError
from zoo.files import changed_copy

from ggufx import hf_to_gguf


@pytest.mark.parametrize(("key", "value"), [("use_qk_norm", True), ("attention_bias", True), ("tie_word_embeddings", False)])
def test_a_setting_that_the_runtime_does_not_have_is_refused(zoo, tmp_path, key, value):
    folder = changed_copy(zoo("command-r"), tmp_path / "source", **{key: value})
    with pytest.raises(GgufxError, match=key):
        hf_to_gguf(folder, tmp_path / "a.gguf")
