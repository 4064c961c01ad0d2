"""DeepSeek: latent attention split by head, what GGUF states of it, experts, older files, layers that have no place."""

import numpy as np
import pytest
import torch
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError, UnsupportedError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import plain, u32
from ggufx.converters.planners import kept_tensors as keep
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hf_config import canonical
from ggufx.converters.rules.hparams import read_hparams, write_hparams
from zoo.files import MISSING, changed_copy, floats, load_folder, read_file, write_file

from ggufx import gguf_to_hf, hf_to_gguf

SMALL = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 500,
         "kv_lora_rank": 24, "q_lora_rank": None, "qk_nope_head_dim": 20, "qk_rope_head_dim": 8, "v_head_dim": 12,
         "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1}
YARN = {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 4096}
V2, V3 = "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"


def written(cls, config):
    spec, notes, found = arch.BY_CLASS[cls][0], [], []
    keys = write_hparams(spec, canonical(SMALL | config, spec, "config.json"), notes, found)
    return {key.removeprefix("deepseek2."): value for key, value in keys.items()}, notes, found


def plain_keys(cls, config):
    keys, _, found = written(cls, config)
    assert not found
    return {key: value.data for key, value in keys.items()}


def back(cls, keys):
    spec, found = arch.BY_CLASS[cls][0], []
    infos = {"token_embd.weight": StoredTensor("token_embd.weight", "F32", (500, 64), None, 0, 0)}
    config, seen = read_hparams(spec, GgufFacts.of(plain({f"deepseek2.{k}": v for k, v in keys.items()}), infos), "x", found)
    assert not found
    return config, seen.assumed


def test_gguf_states_one_latent_head_and_the_way_back_the_heads():
    keys = plain_keys(V2, {})
    assert keys["attention.head_count"] == 4
    assert keys["attention.head_count_kv"] == 1
    assert (keys["attention.key_length"], keys["attention.value_length"]) == (24 + 8, 24)
    assert (keys["attention.key_length_mla"], keys["attention.value_length_mla"]) == (20 + 8, 12)
    assert keys["rope.dimension_count"] == 8
    assert "attention.q_lora_rank" not in keys
    config, _ = back(V2, written(V2, {})[0])
    for key in SMALL.keys() - {"vocab_size"}:
        assert config[key] == SMALL[key], key
    assert config["num_key_value_heads"] == 4


@pytest.mark.parametrize(("given", "rank"), [({"q_lora_rank": None}, None), ({"q_lora_rank": 16}, 16), ({}, 1536)])
def test_no_query_rank_is_not_the_class_default(given, rank):
    spec = arch.BY_CLASS[V3][0]
    config = canonical({k: v for k, v in SMALL.items() if k != "q_lora_rank"} | given, spec, "config.json")
    assert config["q_lora_rank"] == rank


def test_the_latent_projection_is_split_by_head(zoo, tmp_path):
    hf_to_gguf(zoo("deepseek2"), tmp_path / "x.gguf", outtype="f32", plain=True)
    _, tensors = read_file(tmp_path / "x.gguf")
    weight = load_folder(zoo("deepseek2"))["model.layers.1.self_attn.kv_b_proj.weight"].float().numpy()
    per_head = weight.reshape(4, 32 + 32, 32)  # heads, unrotated key rows and value rows, latent rank
    key, value = floats(tensors, "blk.1.attn_k_b.weight"), floats(tensors, "blk.1.attn_v_b.weight")
    for head in range(4):
        assert np.array_equal(key[head], per_head[head, :32].T)
        assert np.array_equal(value[head], per_head[head, 32:])


@pytest.mark.parametrize("model", ["deepseek2", "deepseek2-lite", "deepseek3-v4"])
def test_files_without_a_record_come_back(model, zoo, tmp_path):
    hf_to_gguf(zoo(model), tmp_path / "x.gguf", plain=True)
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    source, result = load_folder(zoo(model)), load_folder(tmp_path / "back")
    assert source.keys() == result.keys()
    for name in source:
        assert source[name].dtype == result[name].dtype, name
        assert torch.equal(source[name], result[name]), name


def test_files_from_before_the_split_come_back(zoo, tmp_path):
    """Until 2025-04 llama.cpp wrote kv_b whole, and the lengths of the heads themselves."""
    hf_to_gguf(zoo("deepseek2"), tmp_path / "x.gguf", outtype="f32", plain=True)
    metadata, tensors = read_file(tmp_path / "x.gguf")
    metadata["deepseek2.attention.key_length"] = metadata.pop("deepseek2.attention.key_length_mla")
    metadata["deepseek2.attention.value_length"] = metadata.pop("deepseek2.attention.value_length_mla")
    metadata["deepseek2.attention.head_count_kv"] = u32(4)
    source = {name: t.float() for name, t in load_folder(zoo("deepseek2")).items()}
    for b in (0, 1):
        del tensors[f"blk.{b}.attn_k_b.weight"], tensors[f"blk.{b}.attn_v_b.weight"]
        whole = source[f"model.layers.{b}.self_attn.kv_b_proj.weight"].numpy()
        tensors[f"blk.{b}.attn_kv_b.weight"] = ("F32", whole.shape, whole.tobytes())
    gguf_to_hf(write_file(tmp_path / "old.gguf", metadata, tensors), tmp_path / "back")
    result = load_folder(tmp_path / "back")
    assert source.keys() == result.keys()
    assert all(torch.equal(source[name], result[name]) for name in source)
    new, old = (read_hparams(arch.BY_CLASS[V2][0], GgufFacts.of(plain(keys), {}), "x", [])[0] for keys in (
        read_file(tmp_path / "x.gguf")[0], metadata))
    assert new == old


# -- experts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "given", "gating"), [
    (V3, {}, 2), (V3, {"scoring_func": "sigmoid"}, 2), (V2, {}, None), (V2, {"scoring_func": "softmax"}, 1)])
def test_gating(cls, given, gating):
    assert plain_keys(cls, given).get("expert_gating_func") == gating


def test_a_gating_that_the_class_does_not_have_is_refused():
    _, _, found = written(V3, {"scoring_func": "tanh"})
    assert len(found) == 1
    assert "'tanh'" in str(found[0])


def test_v3_is_recognised_even_where_another_maker_left_the_gating_out(zoo, tmp_path):
    hf_to_gguf(zoo("deepseek3"), tmp_path / "x.gguf", plain=True)
    metadata, tensors = read_file(tmp_path / "x.gguf")
    del metadata["deepseek2.expert_gating_func"]
    plan = gguf_to_hf(write_file(tmp_path / "y.gguf", metadata, tensors), tmp_path / "back", dry_run=True)
    assert plan.facts["class"] == V3
    assert any("scoring_func = 'sigmoid'" in note for note in plan.notes)


@pytest.mark.parametrize(("given", "count", "used", "method"), [
    ({}, None, None, "greedy"),
    ({"n_group": 1, "topk_group": 1, "topk_method": "greedy"}, 1, 1, "greedy"),
    ({"n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy"}, 4, 2, "group_limited_greedy"),
    ({"n_group": 4, "topk_group": 2, "topk_method": "greedy"}, None, None, "greedy"),
])
def test_groups_of_experts_count_only_where_the_model_looks_at_them(given, count, used, method):
    keys, notes, _ = written(V2, given)
    data = {key: value.data for key, value in keys.items()}
    assert (data.get("expert_group_count"), data.get("expert_group_used_count")) == (count, used)
    assert any("ranks groups" in note for note in notes) == (count == 4)
    assert back(V2, keys)[0]["topk_method"] == method


def test_what_v3_files_leave_out_is_what_the_runtime_does():
    keys, _, _ = written(V3, {"norm_topk_prob": False, "n_group": 2, "topk_group": 1})
    for key in ("expert_group_count", "expert_group_used_count", "expert_weights_scale"):
        del keys[key]
    config, assumed = back(V3, keys)
    assert (config["n_group"], config["topk_group"], config["routed_scaling_factor"]) == (1, 1, 1.0)
    assert config["norm_topk_prob"] is False
    assert {"n_group", "topk_group", "routed_scaling_factor"} <= assumed.keys()
    assert config["num_nextn_predict_layers"] == 0


@pytest.mark.parametrize("cls", [V2, V3])
@pytest.mark.parametrize(("epsilon", "said"), [(1e-5, True), (1e-6, False)])
def test_another_epsilon_than_that_of_the_latents_is_said(cls, epsilon, said):
    _, notes, _ = written(cls, {"rms_norm_eps": epsilon})
    assert any("norms of latents" in note for note in notes) == said


# -- rotary settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 0.707, 0.5, 1.3, 0.1])
def test_yarn_multiplier(factor):
    given = {"rope_scaling": YARN | {"mscale": factor, "mscale_all_dim": factor}}
    keys, notes, _ = written(V2, given)
    assert np.float32(keys["rope.scaling.yarn_log_multiplier"].data) == np.float32(0.1 * factor)
    assert not any("mscale" in note for note in notes)
    stored = {k: (u32(v.data) if isinstance(v.data, int) else type(v)(v.type, float(np.float32(v.data)), v.item_type))
              if not isinstance(v.data, (str, bool)) else v for k, v in keys.items()}
    rope = back(V2, stored)[0]["rope_parameters"]
    assert (rope["mscale"], rope["mscale_all_dim"]) == (factor, factor)


def test_an_mscale_that_the_runtime_does_not_read_is_said():
    _, notes, _ = written(V2, {"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.707}})
    assert any("mscale" in note for note in notes)


def test_halves_of_rotary_rows_are_refused():
    _, _, found = written(V3, {"rope_interleave": False})
    assert len(found) == 1
    assert isinstance(found[0], UnsupportedError)
    assert "rope_interleave" in str(found[0])


# -- tensors that are missing, or have no place ---------------------------------------------------------------------


def test_missing_tensors_are_reported_for_the_kind_of_their_block(zoo, tmp_path):
    gone = ("model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.shared_experts.up_proj.weight",
            "model.layers.1.mlp.gate.e_score_correction_bias", "model.layers.1.self_attn.q_a_layernorm.weight")

    def drop(tensors):
        for name in gone:
            del tensors[name]

    with pytest.raises(GgufxError) as error:
        hf_to_gguf(changed_copy(zoo("deepseek3"), tmp_path / "x", drop), tmp_path / "x.gguf")
    assert {p.tensor for p in error.value.problems if "cannot be made without it" in p.message} == set(gone)


def test_biases_of_attention_are_refused(zoo, tmp_path):
    def add(tensors):
        tensors["model.layers.0.self_attn.o_proj.bias"] = torch.ones(64)

    with pytest.raises(GgufxError, match=r"o_proj\.bias"):
        hf_to_gguf(changed_copy(zoo("deepseek2"), tmp_path / "x", add, attention_bias=True), tmp_path / "x.gguf")


def test_a_wrong_rank_is_a_wrong_shape(zoo, tmp_path):
    with pytest.raises(GgufxError, match=r"does not fit config\.json"):
        hf_to_gguf(changed_copy(zoo("deepseek2"), tmp_path / "x", kv_lora_rank=48), tmp_path / "x.gguf")


def test_small_layers_of_multi_token_prediction_are_kept(zoo, tmp_path):
    plan = hf_to_gguf(zoo("deepseek3-mtp"), tmp_path / "x.gguf", dry_run=True)
    assert any(note.startswith("layer 2: ") and "multi-token prediction" in note for note in plan.notes)
    hf_to_gguf(zoo("deepseek3-mtp"), tmp_path / "x.gguf")
    metadata, tensors = read_file(tmp_path / "x.gguf")
    assert metadata["deepseek2.block_count"].data == 2
    assert "deepseek2.nextn_predict_layers" not in metadata
    assert not any(name.startswith("blk.2.") for name in tensors)
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    source, result = load_folder(zoo("deepseek3-mtp")), load_folder(tmp_path / "back")
    assert source.keys() == result.keys()
    assert all(torch.equal(source[name], result[name]) for name in source)


@pytest.mark.parametrize("settings", [{"plain": True}, {}])
def test_large_ones_are_dropped_whole_and_by_name(settings, zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "MAX_KEPT_BYTES", 1 << 12)  # enough for the norms alone
    plan = hf_to_gguf(zoo("deepseek3-mtp"), tmp_path / "x.gguf", dry_run=True, **settings)
    assert any("model.layers.2." in note and "do not come back" in note for note in plan.notes)
    hf_to_gguf(zoo("deepseek3-mtp"), tmp_path / "x.gguf", **settings)
    metadata, _ = read_file(tmp_path / "x.gguf")
    assert not any(key.startswith("ggufx.kept.model.layers.2.") for key in metadata)
    if not settings:
        assert "model.layers.2.eh_proj.weight" in metadata["ggufx.source"].data


def test_class_defaults_of_a_nearly_empty_config(zoo, tmp_path):
    """Keys that transformers fills in may be absent; the file is the same."""
    hf_to_gguf(zoo("deepseek3"), tmp_path / "a.gguf", plain=True)
    gone = dict.fromkeys(("num_key_value_heads", "rms_norm_eps", "n_shared_experts", "routed_scaling_factor",
                          "norm_topk_prob", "rope_interleave", "head_dim"), MISSING)
    hf_to_gguf(changed_copy(zoo("deepseek3"), tmp_path / "x", **gone), tmp_path / "b.gguf", plain=True)
    (keys, tensors), (other_keys, other_tensors) = read_file(tmp_path / "a.gguf"), read_file(tmp_path / "b.gguf")
    assert {k: v for k, v in keys.items() if k.startswith("deepseek2.")} == {
        k: v for k, v in other_keys.items() if k.startswith("deepseek2.")}
    assert tensors == other_tensors
