"""Qwen3.5: the order of value heads, offsets of norms, kinds of blocks, multi-token prediction, what is not text."""

import json

import numpy as np
import pytest
import torch
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import ValueType, plain
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hf_config import canonical
from ggufx.converters.rules.hparams import read_hparams, write_hparams
from zoo.files import MISSING, changed_copy, floats, load_folder, read_file, write_file

from ggufx import gguf_to_hf, hf_to_gguf

F, S = "full_attention", "linear_attention"
SMALL = {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
         "linear_key_head_dim": 16, "linear_value_head_dim": 16}
TILED = [0, 2, 1, 3]  # value heads 0, 1 read key head 0 and 2, 3 key head 1; ggml repeats the key heads 0, 1, 0, 1


def written(config, names=()):
    spec, notes, found = arch.BY_CLASS["Qwen3_5ForCausalLM"][0], [], []
    keys = write_hparams(spec, canonical(config, spec, "config.json", names), notes, found)
    return {key.removeprefix("qwen35."): value for key, value in keys.items()}, found


def back(keys):
    spec, found = arch.BY_CLASS["Qwen3_5ForCausalLM"][0], []
    infos = {"token_embd.weight": StoredTensor("token_embd.weight", "F32", (500, 64), None, 0, 0)}
    config, _ = read_hparams(spec, GgufFacts.of(plain({f"qwen35.{k}": v for k, v in keys.items()}), infos), "x", found)
    assert not found
    return config


@pytest.fixture(scope="module")
def converted(zoo, tmp_path_factory):
    """HF tensors, GGUF key-values and GGUF tensors (F32) of a model with multi-token prediction."""
    path = tmp_path_factory.mktemp("qwen35") / "x.gguf"
    hf_to_gguf(zoo("qwen35-mtp"), path, outtype="f32", plain=True)
    hf = {name: t.float().numpy() for name, t in load_folder(zoo("qwen35-mtp")).items()}
    return hf, *read_file(path)


def heads(rows):
    """The rows of four value heads in ggml's order."""
    return rows.reshape(4, -1, *rows.shape[1:])[TILED].reshape(rows.shape)


LAYER = "model.layers.1.linear_attn."


@pytest.mark.parametrize(("name", "gguf", "expected"), [
    ("in_proj_z.weight", "attn_gate.weight", heads),
    ("in_proj_a.weight", "ssm_alpha.weight", heads),
    ("in_proj_b.weight", "ssm_beta.weight", heads),
    ("dt_bias", "ssm_dt.bias", heads),
    ("A_log", "ssm_a", lambda x: heads(-np.exp(x.astype(np.float64)).astype(np.float32))),
    ("out_proj.weight", "ssm_out.weight", lambda x: heads(x.T).T),
    ("in_proj_qkv.weight", "attn_qkv.weight", lambda x: np.concatenate([x[:64], heads(x[64:])])),
    ("conv1d.weight", "ssm_conv1d.weight", lambda x: np.concatenate([x[:64, 0], heads(x[64:, 0])])),
    ("norm.weight", "ssm_norm.weight", lambda x: x),
])
def test_linear_attention_is_reordered_by_value_head(name, gguf, expected, converted):
    hf, _, tensors = converted
    assert np.array_equal(floats(tensors, f"blk.1.{gguf}"), expected(hf[LAYER + name]))


@pytest.mark.parametrize(("name", "gguf"), [
    ("model.layers.0.input_layernorm", "blk.0.attn_norm"),
    ("model.layers.0.post_attention_layernorm", "blk.0.post_attention_norm"),
    ("model.layers.3.self_attn.q_norm", "blk.3.attn_q_norm"),
    ("model.norm", "output_norm"),
    ("mtp.layers.0.self_attn.k_norm", "blk.4.attn_k_norm"),
    ("mtp.pre_fc_norm_embedding", "blk.4.nextn.enorm"),
    ("mtp.pre_fc_norm_hidden", "blk.4.nextn.hnorm"),
    ("mtp.norm", "blk.4.nextn.shared_head_norm"),
])
def test_norms_are_stored_as_an_offset_from_one(name, gguf, converted):
    hf, _, tensors = converted
    assert np.array_equal(floats(tensors, f"{gguf}.weight"), hf[f"{name}.weight"] + np.float32(1))


def test_multi_token_prediction_is_the_last_block(converted):
    hf, metadata, tensors = converted
    assert metadata["qwen35.block_count"].data == 5
    assert metadata["qwen35.nextn_predict_layers"].data == 1
    assert list(metadata["qwen35.attention.recurrent_layers"].data) == [True, True, True, False, False]
    assert np.array_equal(floats(tensors, "blk.4.attn_q.weight"), hf["mtp.layers.0.self_attn.q_proj.weight"])
    assert np.array_equal(floats(tensors, "blk.4.nextn.eh_proj.weight"), hf["mtp.fc.weight"])


@pytest.mark.parametrize(("config", "names", "blocks", "predicting"), [
    ({"mtp_num_hidden_layers": 1}, ("model.norm.weight", "mtp.layers.0.mlp.up_proj.weight"), 5, 1),
    ({}, ("mtp.layers.0.mlp.up_proj.weight",), 5, 1),
    ({}, ("model.mtp.layers.0.mlp.up_proj.weight",), 5, 1),
    ({"mtp_num_hidden_layers": 1}, ("model.norm.weight",), 4, None),
    ({"mtp_num_hidden_layers": 1}, (), 5, 1),
    ({}, (), 4, None),
])
def test_the_tensors_decide_whether_there_is_multi_token_prediction(config, names, blocks, predicting):
    keys, found = written(SMALL | config, names)
    assert not found
    assert keys["block_count"].data == blocks
    assert (keys["nextn_predict_layers"].data if predicting else keys.get("nextn_predict_layers")) == predicting
    config = back(keys)
    assert config["num_hidden_layers"] == 4
    assert config["mtp_num_hidden_layers"] == (predicting or 0)


def test_a_config_that_promises_more_than_the_tensors_hold_still_converts(zoo, tmp_path):
    folder = changed_copy(zoo("qwen35"), tmp_path / "tuned", mtp_num_hidden_layers=1)
    hf_to_gguf(folder, tmp_path / "x.gguf")
    metadata, tensors = read_file(tmp_path / "x.gguf")
    assert metadata["qwen35.block_count"].data == 4
    assert not any(".nextn." in name for name in tensors)
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    assert load_folder(tmp_path / "back").keys() == load_folder(folder).keys()


@pytest.mark.parametrize(("given", "expected"), [
    ({}, [True, True, True, False]),
    ({"full_attention_interval": 2}, [True, False, True, False]),
    ({"layer_types": [F, S, S, F]}, [False, True, True, False]),
])
def test_kinds_of_blocks(given, expected):
    keys, found = written(SMALL | given)
    assert not found
    recurrent = keys["attention.recurrent_layers"]
    assert recurrent.item_type == ValueType.BOOL
    assert list(recurrent.data) == expected
    assert back(keys)["layer_types"] == [S if linear else F for linear in expected]


def test_a_file_that_states_only_the_interval():
    keys, _ = written(SMALL | {"full_attention_interval": 2, "mtp_num_hidden_layers": 1})
    del keys["attention.recurrent_layers"]
    assert back(keys)["layer_types"] == [S, F, S, F]
    del keys["full_attention_interval"]
    assert back(keys)["layer_types"] == [S, S, S, F]


@pytest.mark.parametrize(("given", "said"), [
    ({"layer_types": [S, S, F]}, "layer_types"),
    ({"layer_types": [S, S, S, "sliding_attention"]}, "layer_types"),
    ({"linear_value_head_dim": 32}, "linear_key_head_dim 16"),
    ({"hidden_size": None}, "hidden_size"),
])
def test_what_the_runtime_cannot_compute_is_said(given, said):
    _, found = written(SMALL | given)
    assert len(found) == 1
    assert said in str(found[0])


def test_rotary_sections_and_length():
    keys, _ = written(SMALL | {"rope_theta": 1e7})
    assert list(keys["rope.dimension_sections"].data) == [11, 11, 10, 0]
    assert keys["rope.dimension_count"].data == 8
    assert keys["rope.freq_base"].data == 1e7
    given = {"rope_theta": 1e6, "rope_type": "default", "partial_rotary_factor": 0.5, "mrope_section": [4, 2, 2]}
    keys, _ = written(SMALL | {"rope_parameters": given})
    assert list(keys["rope.dimension_sections"].data) == [4, 2, 2, 0]
    assert keys["rope.dimension_count"].data == 16
    assert back(keys)["rope_parameters"] == given | {"mrope_interleaved": True}


def test_a_missing_tensor_is_reported_for_the_kind_of_its_block(zoo, tmp_path):
    def drop(tensors):
        del tensors["model.layers.2.linear_attn.A_log"], tensors["model.layers.3.self_attn.k_proj.weight"]
        del tensors["mtp.layers.0.self_attn.v_proj.weight"], tensors["mtp.fc.weight"]

    with pytest.raises(GgufxError) as error:
        hf_to_gguf(changed_copy(zoo("qwen35-mtp"), tmp_path / "x", drop), tmp_path / "x.gguf")
    assert {p.tensor for p in error.value.problems if "cannot be made without it" in p.message} == {
        "model.layers.2.linear_attn.A_log", "model.layers.3.self_attn.k_proj.weight",
        "mtp.layers.0.self_attn.v_proj.weight", "mtp.fc.weight"}


def test_the_eyes_of_the_multimodal_class_are_left_out_by_name(zoo, tmp_path):
    plan = hf_to_gguf(zoo("qwen35moe-vl"), tmp_path / "x.gguf", dry_run=True)
    assert any(note.startswith("model.visual.*: ") for note in plan.notes)
    hf_to_gguf(zoo("qwen35moe-vl"), tmp_path / "x.gguf")
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3_5MoeForCausalLM"]
    assert config["model_type"] == "qwen3_5_moe_text"
    source, result = load_folder(zoo("qwen35moe-vl")), load_folder(tmp_path / "back")
    text = {n.replace("model.language_model.", "model."): t for n, t in source.items() if "model.visual." not in n}
    assert text.keys() == result.keys()
    assert all(torch.equal(text[n], result[n]) for n in text)


def test_files_of_other_makers_come_back(zoo, tmp_path):
    """Norms exactly; decays and the norm behind them in float32, as the Hub has them; experts fused but for the last."""
    hf_to_gguf(zoo("qwen35moe"), tmp_path / "x.gguf", plain=True)
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    source, result = load_folder(zoo("qwen35moe")), load_folder(tmp_path / "back")
    assert "model.layers.0.mlp.experts.gate_up_proj" in result
    assert "mtp.layers.0.mlp.experts.3.gate_proj.weight" in result
    for name in source.keys() & result.keys():
        kept = name.endswith(("A_log", "linear_attn.norm.weight"))
        assert result[name].dtype == (torch.float32 if kept else torch.bfloat16), name
        assert torch.equal(source[name], result[name].bfloat16()), name


def test_decays_come_back_exactly(zoo, tmp_path):
    """F32 decays do not return from -exp(x) bit for bit, so the file keeps them."""
    folder = zoo("qwen35")
    hf_to_gguf(folder, tmp_path / "x.gguf")
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    source, result = load_folder(folder), load_folder(tmp_path / "back")
    assert source.keys() == result.keys()
    assert all(torch.equal(source[n], result[n]) for n in source)


def test_a_layer_out_of_range_is_refused(zoo, tmp_path):
    def move(tensors):
        tensors["mtp.layers.7.input_layernorm.weight"] = tensors.pop("mtp.layers.0.input_layernorm.weight")
        tensors["model.layers.4.input_layernorm.weight"] = tensors["model.layers.3.input_layernorm.weight"].clone()

    with pytest.raises(GgufxError) as error:
        hf_to_gguf(changed_copy(zoo("qwen35-mtp"), tmp_path / "x", move, mtp_num_hidden_layers=MISSING),
                   tmp_path / "x.gguf")
    said = {p.tensor: p.message for p in error.value.problems}
    assert said["model.layers.4.input_layernorm.weight"].startswith("the block is beyond")
    assert said["mtp.layers.0.input_layernorm.weight"].startswith("missing")


def test_a_file_with_more_predicting_blocks_than_blocks_is_refused(zoo, tmp_path):
    hf_to_gguf(zoo("qwen35"), tmp_path / "x.gguf", plain=True)
    metadata, tensors = read_file(tmp_path / "x.gguf")
    metadata["qwen35.nextn_predict_layers"] = metadata["qwen35.embedding_length"]
    with pytest.raises(GgufxError):
        gguf_to_hf(write_file(tmp_path / "y.gguf", metadata, tensors), tmp_path / "back")
    assert not (tmp_path / "back").exists()
