"""The embedding that ends a row of patches, which llama.cpp's converter leaves out and its runtime needs."""

import json
from pathlib import Path

import pytest
from zoo.files import load_folder
from zoo.peers import read_peer_gguf
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower


@pytest.mark.parametrize("name", ["pixtral-eye", "mistral3-eye"])
def test_the_end_of_a_row_is_the_embedding_of_its_token(name: str, tmp_path: Path):
    folder = build_tower(TOWERS[name], tmp_path / "model")
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    (token,) = [entry["id"] for entry in added if entry["content"] == "[IMG_BREAK]"]
    (table,) = [values for key, values in load_folder(folder).items() if key.endswith("embed_tokens.weight")]
    made = read_peer_gguf(make_projector(folder, tmp_path / "out.gguf", "f32", plain=True))
    kind, shape, data = made.tensors["v.token_embd.img_break"]
    assert (kind, shape) == ("F32", table.shape[1:])
    assert data == table[token].float().numpy().tobytes()
