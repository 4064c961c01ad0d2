"""Shapes against settings, from the planners' side: what is refused, in which words, and what real files have and must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import u32
from ggufx.converters.planners.gguf_to_hf import HfOptions
from ggufx.converters.planners.hf_to_gguf import GgufOptions
from ggufx.converters.planners.pair_to_hf import plan_model_to_hf
from ggufx.converters.planners.projector import ProjectorPlanner
from zoo.changed import change_gguf
from zoo.files import changed_copy
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx

Change = Callable[[dict], None]


def reshaped(name: str, *shape: int) -> Change:
    return lambda held: held.update({name: ("F32", shape, np.ones(shape, np.float32))})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint with an eye of SigLIP's, and the two files of it, without ggufx's keys."""
    work = tmp_path_factory.mktemp("pair")
    folder = build_tower(TOWERS["gemma3-eye"], work / "model")
    ggufx.hf_to_gguf(folder, work / "text.gguf", plain=True)
    return {"folder": folder, "text": work / "text.gguf",
            "mmproj": make_projector(folder, work / "mmproj-eye.gguf", "f32", plain=True)}


# what a pair of files of others may hold beside its keys: 112 pixels, patches of 14, 64 wide, 96 in between, text of 64
OTHERS = {
    "patches of another size": ("v.patch_embd.weight", (64, 3, 16, 16), [64, 3, 14, 14]),
    "a tower of another width": ("v.patch_embd.bias", (96,), [64]),
    "a table for other pictures": ("v.position_embd.weight", (81, 64), [64, 64]),
    "a projector of another width": ("mm.input_projection.weight", (64, 96), [64, 64]),
    "a block of another width": ("v.blk.2.ffn_up.weight", (128, 64), [96, 64]),
    "a norm of another width": ("v.blk.1.ln2.weight", (32,), [64]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_projector_that_contradicts_its_keys(pair, tmp_path, case):
    name, shape, expected = OTHERS[case]
    lying = change_gguf(pair["mmproj"], tmp_path / "mmproj-lying.gguf", reshaped(name, *shape))
    with pytest.raises(GgufxError) as found:
        plan_model_to_hf(pair["text"], tmp_path / "back", HfOptions(mmproj=lying))
    assert str(found.value) == (f"{lying}: tensor {name}: the shape does not fit the rest of the file "
                                f"(expected {expected}, found {list(shape)})")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(("name", "shape", "expected"), [
    ("blk.1.ffn_down.weight", (64, 128), [64, 96]), ("output_norm.weight", (96,), [64]),
    ("blk.0.attn_k.weight", (64, 64), [32, 64]), ("output.weight", (300, 64), None)])
def test_a_text_model_that_contradicts_its_keys(converted, tmp_path, name, shape, expected):
    lying = change_gguf(converted("llama"), tmp_path / "lying.gguf", reshaped(name, *shape))
    with pytest.raises(GgufxError, match="the shape does not fit the rest of the file") as found:
        plan_model_to_hf(lying, tmp_path / "back", HfOptions())
    assert (found.value.file, found.value.tensor, found.value.found) == (str(lying), name, list(shape))
    assert found.value.expected == expected or name == "output.weight"


def test_of_a_size_that_no_key_holds_most_tensors_are_believed(tmp_path):
    """Qwen2-VL's key of the inner width has the text model's; the blocks have one, but for the third."""
    folder = build_tower(TOWERS["qwen2vl-eye"], tmp_path / "model")
    text, mmproj = tmp_path / "text.gguf", make_projector(folder, tmp_path / "mmproj.gguf", "f32", plain=True)
    ggufx.hf_to_gguf(folder, text, plain=True)
    assert plan_model_to_hf(text, tmp_path / "back", HfOptions(mmproj=mmproj)).jobs
    lying = change_gguf(mmproj, tmp_path / "mmproj-lying.gguf", reshaped("v.blk.2.ffn_up.weight", 160, 64))
    with pytest.raises(GgufxError) as found:
        plan_model_to_hf(text, tmp_path / "back", HfOptions(mmproj=lying))
    assert (found.value.tensor, found.value.expected, found.value.found) == ("v.blk.2.ffn_up.weight", [128, 64], [160, 64])


@pytest.mark.parametrize(("name", "rows"), [
    ("encoder.layers.1.mlp.fc1.weight", 8), ("embeddings.position_embedding.weight", 17), ("post_layernorm.bias", 1)])
def test_a_checkpoint_whose_tower_contradicts_config_json(pair, tmp_path, name, rows):
    import torch

    def longer(tensors):
        full = next(n for n in tensors if n.endswith(name))
        tensors[full] = torch.cat([tensors[full], tensors[full][:rows]])

    folder = changed_copy(pair["folder"], tmp_path / "model", longer)
    with pytest.raises(GgufxError, match=r"the shape does not fit config\.json") as found:
        ProjectorPlanner(folder, tmp_path / "mmproj.gguf", GgufOptions())
    assert found.value.tensor.endswith(name)
    assert found.value.found[0] == found.value.expected[0] + rows


# -- what passes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_the_embedding_says_how_long_the_vocabulary_is(converted, tmp_path, name):
    """Tables are padded, and keys of old files count other words."""
    def padded(held):
        for table in {"token_embd.weight", "output.weight"} & held.keys():
            (_, (rows, width), _) = held[table]
            held[table] = ("F32", (rows + 26, width), np.zeros((rows + 26, width), np.float32))

    longer = change_gguf(converted(name), tmp_path / "padded.gguf", padded,
                         lambda keys: keys.update({f"{name}.vocab_size": u32(7)}))
    rows = read_gguf(longer).tensors["token_embd.weight"].shape[0]
    plan = plan_model_to_hf(longer, tmp_path / "back", HfOptions())
    assert next(t.shape[0] for t in plan.tensors if t.name == "model.embed_tokens.weight") == rows


@pytest.mark.parametrize("name", ["gemma3n", "openelm", "lfm2moe", "laguna", "nemotron-h", "jamba", "gemma4"])
def test_lists_of_sizes_per_block_and_tables_of_other_lengths(converted, tmp_path, name):
    assert plan_model_to_hf(converted(name), tmp_path / "back", HfOptions()).jobs
