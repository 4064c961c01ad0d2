"""T5: decoders deeper than the encoder, activations that the runtime does not have, copies of the embedding."""

import pytest
import torch
from ggufx.converters.errors import GgufxError
from zoo.files import changed_copy, load_folder

from ggufx import gguf_to_hf, hf_to_gguf


def deeper(tensors):
    copies = {n.replace(".block.1.", ".block.2."): t.clone() for n, t in tensors.items() if n.startswith("decoder.block.1.")}
    return tensors | copies


@pytest.mark.parametrize("plain", [False, True])
def test_a_decoder_deeper_than_the_encoder(zoo, tmp_path, plain):
    folder = changed_copy(zoo("t5"), tmp_path / "source", deeper, num_decoder_layers=3)
    assert any("deeper" in note for note in hf_to_gguf(folder, tmp_path / "a.gguf", dry_run=True).notes)
    hf_to_gguf(folder, tmp_path / "a.gguf", plain=plain)
    gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    source, back = load_folder(folder), load_folder(tmp_path / "back")
    assert source.keys() == back.keys()
    assert all(torch.equal(source[name], back[name]) for name in source)


def test_an_activation_that_the_runtime_does_not_have_is_refused(zoo, tmp_path):
    folder = changed_copy(zoo("t5-v11"), tmp_path / "source", feed_forward_proj="gated-silu")
    with pytest.raises(GgufxError, match="feed_forward_proj"):
        hf_to_gguf(folder, tmp_path / "a.gguf")


def test_copies_of_the_embedding_come_back(zoo, tmp_path):
    name = "encoder.embed_tokens.weight"
    folder = changed_copy(zoo("t5"), tmp_path / "source", lambda tensors: tensors | {name: tensors["shared.weight"].clone()})
    hf_to_gguf(folder, tmp_path / "a.gguf")
    gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert torch.equal(load_folder(tmp_path / "back")[name], load_folder(folder)[name])
