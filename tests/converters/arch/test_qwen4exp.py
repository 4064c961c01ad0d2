"""Qwen4-Exp: how the table of its hashes is put together, which settings count, and what is refused."""

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from zoo.changed import change_folder

import ggufx

STEM = "model.layers.1.ple.ple_embedding."
SHARDS = [f"{STEM}ngram_embedding.shard_{part}.weight" for part in range(4)]


def converted(source, folder, tensors=None, config=None):
    made = change_folder(source, folder / "changed", tensors, config)
    ggufx.hf_to_gguf(made, folder / "x.gguf", outtype="bf16", plain=True)
    return read_gguf(folder / "x.gguf")


def test_the_table_is_the_shards_one_behind_the_other(zoo, tmp_path):
    held = {}
    model = converted(zoo("qwen4exp"), tmp_path, held.update)
    place = model.tensors["per_layer_token_embd.weight"]
    stored = np.fromfile(model.path, np.uint8, place.nbytes, offset=place.offset)
    assert place.shape == (128, 32)
    assert stored.tobytes() == b"".join(held[name].view(torch.uint8).numpy().tobytes() for name in SHARDS)


def test_full_attention_is_indexed_under_either_name_and_hashes_end_with_the_first_end(zoo, tmp_path):
    kinds = ["linear_attention"] * 3 + ["full_attention"]
    model = converted(zoo("qwen4exp"), tmp_path, config=lambda c: c.update(layer_types=kinds, eos_token_id=[417, 418]))
    assert list(model.metadata["qwen4exp.attention.compress_ratios"].data) == [0, 0, 0, 4]
    assert model.metadata["qwen4exp.ple.eos_token_id"].data == 417


def shorter(held):
    held[SHARDS[3]] = held[SHARDS[3]][:16]


def without_a_shard(held):
    del held[SHARDS[2]]


def elsewhere(held):
    for name in [name for name in held if name.startswith(STEM)]:
        held[name.replace("layers.1", "layers.2")] = held.pop(name)


def without_multipliers(held):
    del held[STEM + "layer_multipliers"]


@pytest.mark.parametrize(("tensors", "config", "said"), [
    (shorter, {}, "differ in shape"),
    (without_a_shard, {}, "shard_2"),
    (elsewhere, {}, "does not have it in this block"),
    (without_multipliers, {}, "layer_multipliers"),
    (None, {"ple_layer_ids": [2, 3]}, "hashes in one block"),
    (None, {"output_gate_type": None}, "output_gate_type has no GGUF form"),
    (None, {"indexer_kv_heads": 2}, "indexer_kv_heads has no GGUF form"),
    (None, {"layer_types": ["linear_attention"] * 3}, "4 times linear_attention or full_attention"),
])
def test_what_has_no_gguf_form_is_refused(tensors, config, said, zoo, tmp_path):
    with pytest.raises(GgufxError, match=said):
        converted(zoo("qwen4exp"), tmp_path, tensors, lambda c: c.update(config))
    assert not (tmp_path / "x.gguf").exists()
