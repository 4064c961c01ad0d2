"""DeepSeek V4: what the rows of the zoo do not show."""

import json
import shutil

import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from zoo import peers

import ggufx


def changed(folder, made, tensors=None, **settings):
    """The folder with other tensors and settings."""
    shutil.copytree(folder, made)
    config = json.loads((made / "config.json").read_text()) | settings
    (made / "config.json").write_text(json.dumps(config))
    if tensors:
        import torch
        from safetensors.torch import load_file, save_file

        found = load_file(made / "model.safetensors")
        tensors(found, torch)
        save_file(found, made / "model.safetensors", metadata={"format": "pt"})
    return made


TABLE = "layers.0.ffn.gate.tid2eid"


def test_a_table_of_32_bits_comes_back_as_such(zoo, tmp_path):
    def narrow(found, torch):
        found[TABLE] = found[TABLE].to(torch.int32)

    source = changed(zoo("deepseek4-v4"), tmp_path / "source", narrow)
    made = {}
    for name, folder in (("wide", zoo("deepseek4-v4")), ("narrow", source)):
        ggufx.hf_to_gguf(folder, tmp_path / f"{name}.gguf")
        made[name] = peers.read_peer_gguf(tmp_path / f"{name}.gguf").tensors
    assert made["wide"] == made["narrow"]
    ggufx.hf_to_gguf(source, tmp_path / "own.gguf")
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back")
    assert (tmp_path / "back/model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_a_number_beyond_32_bits_is_refused(zoo, tmp_path):
    def large(found, torch):
        found[TABLE][7, 1] = 2**40

    source = changed(zoo("deepseek4-v4"), tmp_path / "source", large)
    with pytest.raises(UnsupportedError, match="beyond 32 bits"):
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_multi_token_prediction_and_biases_of_hashed_blocks_are_left_out_by_name(zoo, tmp_path):
    def more(found, torch):
        found["layers.0.ffn.gate.bias"] = torch.zeros(4)
        found["mtp.0.attn.wq_a.weight"] = found["layers.0.attn.wq_a.weight"].clone()
        found["mtp.0.e_proj.weight"] = torch.zeros(64, 64)

    source = changed(zoo("deepseek4-v4"), tmp_path / "source", more)
    plan = ggufx.hf_to_gguf(source, tmp_path / "model.gguf", plain=True, dry_run=True)
    ggufx.hf_to_gguf(source, tmp_path / "model.gguf", plain=True)
    assert "mtp.0.e_proj.weight" in str(plan.notes)
    ggufx.hf_to_gguf(zoo("deepseek4-v4"), tmp_path / "without.gguf", plain=True)
    assert ggufx.verify(tmp_path / "model.gguf", tmp_path / "without.gguf").same


@pytest.mark.parametrize("settings", [{"scoring_func": "softmax"}, {"tie_word_embeddings": True}])
def test_what_the_runtime_does_not_compute_is_refused(zoo, tmp_path, settings):
    source = changed(zoo("deepseek4-v4"), tmp_path / "source", **settings)
    with pytest.raises(UnsupportedError, match=next(iter(settings))):
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")


def test_a_draft_of_others_comes_back_under_the_names_that_convert_again(zoo, tmp_path):
    target = {"target": zoo("deepseek4-v4")}
    ggufx.hf_to_gguf(zoo("deepseek4-dspark"), tmp_path / "model.gguf", outtype="f32", plain=True, **target)
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "back")
    config = json.loads((tmp_path / "back/config.json").read_text())
    assert (config["architectures"], config["dspark_target_layer_ids"]) == (["DeepseekV4DSparkModel"], [0, 2])
    ggufx.hf_to_gguf(tmp_path / "back", tmp_path / "again.gguf", outtype="f32", plain=True, **target)
    first, again = (peers.read_peer_gguf(tmp_path / f"{name}.gguf").tensors for name in ("model", "again"))
    assert again == first


def test_blocks_that_choose_by_token_come_first(zoo, tmp_path):
    source = changed(zoo("deepseek4"), tmp_path / "source", mlp_layer_types=["moe", "hash_moe", "moe", "moe"])
    with pytest.raises(InputError):
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
