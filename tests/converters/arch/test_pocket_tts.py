"""Pocket TTS: checkpoints without config.json, rows behind the embedding, and what they are made of."""

import json
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import InputError
from zoo import peers
from zoo.files import load_folder
from zoo.peers import read_peer_gguf
from zoo.texts import HARD_TEXTS
from zoo.towers import TOWERS, build_tower

import ggufx

NAMES = ("pocket-tts-sound", "pocket-tts-voiced-sound")


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return build_tower(TOWERS[request.param], tmp_path / "model")


def test_a_folder_without_config_json_is_the_same_model(folder: Path, tmp_path: Path):
    """The sizes of its tensors tell all that config.json would, the folder's name the variant."""
    for kind in ("with", "without"):
        ggufx.hf_to_gguf(folder, tmp_path / f"{kind}.gguf", plain=True)
        ggufx.hf_to_gguf(folder, tmp_path / f"{kind}-sound.gguf", plain=True, mmproj_only=True)
        (folder / "config.json").unlink(missing_ok=True)
    for end in ("", "-sound"):
        assert (tmp_path / f"with{end}.gguf").read_bytes() == (tmp_path / f"without{end}.gguf").read_bytes()
    ggufx.hf_to_gguf(folder, tmp_path / "own.gguf")
    ggufx.hf_to_gguf(folder, tmp_path / "own-sound.gguf", mmproj_only=True)
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back", mmproj=tmp_path / "own-sound.gguf")
    held, back = load_folder(folder), load_folder(tmp_path / "back")
    assert held.keys() == back.keys()
    assert all(held[name].dtype == back[name].dtype and held[name].equal(back[name]) for name in held)
    assert (tmp_path / "back" / "tokenizer.model").read_bytes() == (folder / "tokenizer.model").read_bytes()
    assert json.loads((tmp_path / "back" / "config.json").read_text())["model_variant"] == "model"


def test_the_last_row_is_the_latent_behind_its_projection(folder: Path, tmp_path: Path):
    """Of a table in BF16 and a latent in F32: sources of several types go into one tensor."""
    ggufx.hf_to_gguf(folder, tmp_path / "out.gguf", outtype="f32", plain=True)
    file = read_peer_gguf(tmp_path / "out.gguf")
    _, shape, data = file.tensors["token_embd.weight"]
    rows, held = np.frombuffer(data, np.float32).reshape(shape), load_folder(folder)
    latent, projection = held["flow_lm.bos_emb"].numpy(), held["flow_lm.input_linear.weight"].float().numpy()
    np.testing.assert_allclose(rows[-1], projection @ latent, rtol=1e-6)
    assert file.values["tokenizer.ggml.tokens"][1][-1] == "<|audio_bos|>"
    voice = held.get("flow_lm.bos_before_voice")
    assert (file.values["tokenizer.ggml.tokens"][1][-2] == "<|bos_before_voice|>") == (voice is not None)
    assert voice is None or np.array_equal(rows[-2], voice.float().numpy().ravel())


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=str(peers.missing_runtime()))
def test_the_runtime_cuts_text_as_sentencepiece_does(tmp_path: Path):
    """But for texts that spell control tokens, and spaces that are spelt as SentencePiece's own."""
    from sentencepiece import SentencePieceProcessor

    folder = build_tower(TOWERS[NAMES[0]], tmp_path / "model")
    ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")
    cut = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    texts = [text for text in HARD_TEXTS if not any(word in text for word in ("\0", "\u2581", "<s>"))]
    assert peers.tokenize(tmp_path / "out.gguf", texts, add_special=True) == [cut.encode(text) for text in texts]


def test_a_checkpoint_cut_short_is_refused_by_the_tensor_that_tells_a_size(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = build_tower(TOWERS[NAMES[0]], tmp_path / "model")
    (folder / "config.json").unlink()
    tensors = load_file(folder / "model.safetensors")
    del tensors["mimi.encoder_transformer.transformer.layers.0.norm1.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match="the model's sizes are read of it"):
        ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")
