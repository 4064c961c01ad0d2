"""Gemma: which blocks slide, what a nearly empty config stands for, what the runtime derives, what has no GGUF form."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, raise_all
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.safetensors import read_safetensors_header
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import ValueType, array, plain, string, u32
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hf_config import canonical, hub_style
from ggufx.converters.rules.hparams import read_hparams, sizes, write_hparams
from ggufx.converters.rules.match import match_gguf
from ggufx.converters.rules.rope import PROPORTIONAL_FREQS
from ggufx.converters.run.execute import execute

S, F = "sliding_attention", "full_attention"
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 500}
GEMMA4_26B = {  # as on the Hub
    "hidden_size": 2816, "intermediate_size": 2112, "num_hidden_layers": 6, "num_attention_heads": 16,
    "num_key_value_heads": 8, "num_global_key_value_heads": 2, "head_dim": 256, "global_head_dim": 512,
    "attention_k_eq_v": True, "enable_moe_block": True, "num_experts": 128, "top_k_experts": 8,
    "moe_intermediate_size": 704, "hidden_size_per_layer_input": 0, "use_bidirectional_attention": "vision",
    "sliding_window": 1024, "final_logit_softcapping": 30.0, "layer_types": [S, S, S, S, S, F],
}


def written(cls: str, config: dict) -> tuple[dict, list[str]]:
    """The architecture's keys without prefix, and the notes."""
    spec, notes, problems = arch.BY_CLASS[cls][0], [], []
    keys = write_hparams(spec, canonical(config, spec, "config.json"), notes, problems)
    raise_all(problems)
    return {key.removeprefix(f"{spec.name}."): value for key, value in keys.items()}, notes


def plain_keys(cls: str, config: dict) -> dict:
    return {key: value.data for key, value in written(cls, config)[0].items()}


def back(cls: str, keys: dict, tensors: tuple[str, ...] = ()) -> tuple[dict, dict]:
    """The canonical config behind key-values and tensor names, and what was assumed."""
    spec, problems = arch.BY_CLASS[cls][0], []
    infos = {name: StoredTensor(name, "F32", (500, 64), Path("x"), 0, 0) for name in ("token_embd.weight", *tensors)}
    metadata = {f"{spec.name}.{k}": v for k, v in keys.items()}
    config, found = read_hparams(spec, GgufFacts.of(plain(metadata), infos), "x", problems)
    raise_all(problems)
    return config, found.assumed


@pytest.mark.parametrize(("given", "window", "pattern"), [
    ({}, 4096, None),
    ({"sliding_window_pattern": 6}, 4096, None),
    ({"layer_types": [S] * 5 + [F]}, 4096, None),
    ({"sliding_window_pattern": 3}, 4096, [True, True, False] * 2),
    ({"layer_types": [S, S, F, S, S, F]}, 4096, [True, True, False] * 2),
    ({"layer_types": [F, S, S, F, F, S]}, 4096, [False, True, True, False, False, True]),
    ({"sliding_window_pattern": 1}, None, None),
    ({"layer_types": [F] * 6}, None, None),
])
def test_gemma3_states_the_pattern_only_where_the_runtime_would_take_another(given, window, pattern):
    keys, _ = written("Gemma3ForCausalLM", {**SMALL, **given})
    assert (keys["attention.sliding_window"].data if "attention.sliding_window" in keys else None) == window
    stated = keys.get("attention.sliding_window_pattern")
    assert (stated and (stated.item_type, stated.data)) == (pattern and (ValueType.BOOL, pattern))
    config, _ = back("Gemma3ForCausalLM", keys)
    slides = pattern or ([True] * 5 + [False] if window else [False] * 6)
    assert config["layer_types"] == [S if s else F for s in slides]
    assert config.get("sliding_window") == window


def test_gemma2_alternates_unless_told_otherwise():
    assert "attention.sliding_window_pattern" not in plain_keys("Gemma2ForCausalLM", SMALL)
    keys, _ = written("Gemma2ForCausalLM", {**SMALL, "layer_types": [F, S, S, F, F, F]})
    assert keys["attention.sliding_window_pattern"].data == [False, True, True, False, False, False]
    assert back("Gemma2ForCausalLM", keys)[0]["layer_types"] == [F, S, S, F, F, F]
    with pytest.raises(InputError, match="6 times sliding_attention or full_attention is expected"):
        written("Gemma2ForCausalLM", {**SMALL, "layer_types": [S, F]})


def test_a_pattern_may_be_a_period_in_files_of_others():
    keys, _ = written("Gemma3ForCausalLM", SMALL)
    period = {**keys, "attention.sliding_window_pattern": u32(2)}
    assert back("Gemma3ForCausalLM", period)[0]["layer_types"] == [S, F] * 3


def test_nearly_empty_text_config_stands_for_the_class():
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {}, "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}}
    keys, notes = written("Gemma3ForConditionalGeneration", config)
    assert {key: value.data for key, value in keys.items()} == {
        "block_count": 34, "context_length": 131072, "embedding_length": 2560, "feed_forward_length": 10240,
        "attention.head_count": 8, "attention.head_count_kv": 4, "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.key_length": 256, "attention.value_length": 256, "attention.sliding_window": 1024,
        "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0, "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0}
    assert notes == []


def test_both_styles_of_rotary_settings_are_one():
    old = {**SMALL, "rope_theta": 500000.0, "rope_local_base_freq": 20000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}
    new = {**SMALL, "rope_parameters": {F: {"rope_type": "linear", "rope_theta": 500000.0, "factor": 4.0},
                                        S: {"rope_type": "default", "rope_theta": 20000.0}}}
    partial = {**SMALL, "rope_parameters": {F: {"rope_type": "linear", "factor": 4.0}}}
    assert plain_keys("Gemma3ForCausalLM", old) == plain_keys("Gemma3ForCausalLM", new)
    assert plain_keys("Gemma3ForCausalLM", partial)["rope.freq_base_swa"] == 10000.0
    assert plain_keys("Gemma3ForCausalLM", partial)["rope.freq_base"] == 1000000.0
    config, _ = back("Gemma3ForCausalLM", written("Gemma3ForCausalLM", new)[0])
    assert config["rope_parameters"] == new["rope_parameters"]
    spelled = hub_style(config, arch.BY_CLASS["Gemma3ForCausalLM"][0])  # which transformers 4 can read as well
    assert (spelled["rope_theta"], spelled["rope_local_base_freq"]) == (500000.0, 20000.0)
    assert spelled["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    assert "rope_parameters" not in spelled
    assert plain_keys("Gemma3ForCausalLM", spelled) == plain_keys("Gemma3ForCausalLM", new)


def test_first_gemmas_state_a_base_only_where_it_is_not_the_runtimes():
    for cls in ("GemmaForCausalLM", "Gemma2ForCausalLM"):
        assert "rope.freq_base" not in plain_keys(cls, SMALL)
        keys, _ = written(cls, {**SMALL, "rope_theta": 500000.0})
        assert keys["rope.freq_base"].data == 500000.0
        assert back(cls, keys)[0]["rope_parameters"]["rope_theta"] == 500000.0


@pytest.mark.parametrize(("cls", "shape", "scalar"), [
    ("Gemma2ForCausalLM", {"num_hidden_layers": 46, "hidden_size": 4608, "num_attention_heads": 32, "head_dim": 128}, 144),
    ("Gemma2ForCausalLM", {"num_hidden_layers": 42, "hidden_size": 3584, "num_attention_heads": 16, "head_dim": 256}, 256),
    ("Gemma3ForCausalLM", {"num_hidden_layers": 62, "hidden_size": 5376, "num_attention_heads": 32, "head_dim": 128}, 168),
    ("Gemma3ForCausalLM", {"num_hidden_layers": 26, "hidden_size": 1152, "num_attention_heads": 4, "head_dim": 256}, 256),
])
def test_query_scalar_is_what_the_runtime_derives(cls, shape, scalar):
    keys, notes = written(cls, {**SMALL, **shape, "query_pre_attn_scalar": scalar})
    assert notes == []
    config, assumed = back(cls, keys)
    assert config["query_pre_attn_scalar"] == scalar
    assert "query_pre_attn_scalar" in assumed
    _, notes = written(cls, {**SMALL, **shape, "query_pre_attn_scalar": 224})
    assert notes == [f"config.json says query_pre_attn_scalar = 224; the runtime always computes with {scalar}"]


def test_older_files_lack_what_the_runtime_assumes():
    keys, _ = written("Gemma3ForCausalLM", SMALL)
    del keys["rope.freq_base_swa"]
    config, assumed = back("Gemma3ForCausalLM", keys)
    assert config["rope_parameters"][S] == {"rope_type": "default", "rope_theta": 10000.0}
    assert "rope_parameters.sliding_attention" in assumed
    keys, _ = written("Gemma2ForCausalLM", SMALL)
    for key in ("attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window"):
        del keys[key]
    config, _ = back("Gemma2ForCausalLM", keys)
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"], config["sliding_window"]) == (50.0, 30.0, 4096)


@pytest.mark.parametrize(("cls", "given", "message"), [
    ("GemmaForCausalLM", {"tie_word_embeddings": False}, "tie_word_embeddings has no GGUF form"),
    ("GemmaForCausalLM", {"use_bidirectional_attention": True}, "use_bidirectional_attention has no GGUF form"),
    ("Gemma2ForCausalLM", {"attn_logit_softcapping": None}, "attn_logit_softcapping null has no GGUF form"),
    ("Gemma3ForCausalLM", {"attention_bias": True}, "attention_bias has no GGUF form"),
    ("Gemma3ForCausalLM", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping has no GGUF form"),
    ("Gemma3ForCausalLM", {"rope_parameters": {F: {"rope_type": "default"}, S: {"rope_type": "linear", "factor": 2.0}}},
     "sliding attention have no GGUF form"),
    ("Gemma4ForCausalLM", {"use_bidirectional_attention": "all"}, "use_bidirectional_attention has no GGUF form"),
    ("Gemma4ForCausalLM", {"per_layer_config": {"0": {"head_dim": 64}}}, "per_layer_config has no GGUF form"),
    ("Gemma4ForCausalLM", {"per_layer_config": {"5": {"intermediate_size": 64}}}, "per_layer_config has no GGUF form"),
])
def test_what_the_runtime_cannot_compute_is_refused(cls, given, message):
    with pytest.raises(UnsupportedError, match=message):
        written(cls, {**SMALL, **given})


# -- Gemma 4 --------------------------------------------------------------------------------------------------------


def saved_by_transformers(config: dict) -> dict:
    out = {k: v for k, v in config.items() if k not in ("global_head_dim", "num_global_key_value_heads")}
    exception = {"head_dim": config["global_head_dim"]}
    if config["attention_k_eq_v"]:
        exception["num_key_value_heads"] = config["num_global_key_value_heads"]
    full = [b for b, kind in enumerate(config["layer_types"]) if kind == F]
    return {**out, "per_layer_config": {str(b): exception for b in full}}


def test_gemma4_settings_of_full_layers_in_both_spellings():
    keys, _ = written("Gemma4ForCausalLM", GEMMA4_26B)
    assert keys["attention.head_count_kv"].item_type == ValueType.INT32
    assert keys["attention.head_count_kv"].data == [8, 8, 8, 8, 8, 2]
    assert keys["attention.key_length"].data == keys["rope.dimension_count"].data == 512
    assert keys["attention.key_length_swa"].data == keys["rope.dimension_count_swa"].data == 256
    assert (keys["expert_count"].data, keys["expert_feed_forward_length"].data) == (128, 704)
    assert keys == written("Gemma4ForCausalLM", saved_by_transformers(GEMMA4_26B))[0]
    config, _ = back("Gemma4ForCausalLM", keys, ("blk.0.ffn_gate_inp.weight", "blk.0.attn_k.weight"))
    for key in set(GEMMA4_26B) - {"use_bidirectional_attention"}:
        assert config[key] == GEMMA4_26B[key], key


def test_gemma4_ignores_what_transformers_ignores():
    without = {**GEMMA4_26B, "attention_k_eq_v": False, "enable_moe_block": False}
    keys = plain_keys("Gemma4ForCausalLM", without)
    assert keys["attention.head_count_kv"] == 8
    assert "expert_count" not in keys
    assert plain_keys("Gemma4ForCausalLM", {**SMALL, "num_hidden_layers": 4, "layer_types": [S] * 4})[
        "attention.sliding_window_pattern"] == [True, True, True, False]


def test_gemma4_states_that_nothing_is_capped():
    keys, _ = written("Gemma4ForCausalLM", SMALL)
    assert keys["final_logit_softcapping"].data == 0.0
    assert back("Gemma4ForCausalLM", keys)[0].get("final_logit_softcapping") is None


def test_gemma4_double_wide_blocks():
    keys, _ = written("Gemma4ForCausalLM", {**SMALL, "use_double_wide_mlp": True, "num_kv_shared_layers": 2})
    assert keys["feed_forward_length"].data == [96, 96, 96, 96, 192, 192]
    config, _ = back("Gemma4ForCausalLM", keys)
    assert (config["intermediate_size"], config["use_double_wide_mlp"], config["num_kv_shared_layers"]) == (96, True, 2)
    keys["feed_forward_length"].data[1] = 100
    with pytest.raises(UnsupportedError, match="feed_forward_length has no form"):
        back("Gemma4ForCausalLM", keys)


@pytest.mark.parametrize(("rope", "divisors"), [
    ({"rope_type": "proportional", "partial_rotary_factor": 0.25}, [1.0] * 4 + [1e30] * 12),
    ({"rope_type": "proportional", "partial_rotary_factor": 0.5, "factor": 4.0}, [4.0] * 8 + [1e30] * 8),
    ({"rope_type": "proportional", "partial_rotary_factor": 1.0}, [1.0] * 16),
    ({"rope_type": "default"}, [1.0] * 16),
])
def test_proportional_rotation_is_a_table_of_divisors(rope, divisors):
    made = PROPORTIONAL_FREQS.make({"rope_parameters": {F: rope}}, {"rope.dimension_count": 32})
    assert np.array_equal(made, np.array(divisors, np.float32))
    config = {"rope_parameters": {F: {"rope_type": "default", "rope_theta": 1e6}}}
    PROPORTIONAL_FREQS.recover(made, None, config)
    again = PROPORTIONAL_FREQS.make(config, {"rope.dimension_count": 32})
    assert np.array_equal(again, made)
    if rope["rope_type"] == "proportional":
        assert config["rope_parameters"][F] == {"rope_theta": 1e6, **rope}


def test_other_divisors_are_refused():
    with pytest.raises(UnsupportedError, match="not a proportional rotary setting"):
        PROPORTIONAL_FREQS.recover(np.array([1, 2, 1e30], np.float32), None, {"rope_parameters": {F: {}}})


def test_gemma4_experts_in_the_other_layout_of_gguf():
    keys, _ = written("Gemma4ForCausalLM", GEMMA4_26B)
    spec, problems = arch.BY_CLASS["Gemma4ForCausalLM"][0], []
    hp = sizes(spec, {f"gemma4.{k}": v.data for k, v in keys.items()}, 500, None)
    names = {"blk.0.ffn_gate_exps.weight": "F32", "blk.0.ffn_up_exps.weight": "F32"}
    found = match_gguf(spec, hp, names, "x", problems)
    assert [m.hf for m in found.matches] == [(("model.layers.0.experts.gate_up_proj",),)]
    complained = {str(p).split()[2] for p in problems}
    assert "model.layers.0.experts.down_proj:" in complained
    assert "model.layers.0.experts.gate_up_proj:" not in complained


# -- unfit values ---------------------------------------------------------------------------------------------------

CLASSES = ("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma4ForCausalLM")


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("key", [*SMALL, "layer_types", "rope_parameters", "sliding_window", "per_layer_config"])
def test_settings_of_a_wrong_kind_are_errors_of_the_input(cls, key):
    for value in ("six", -1, 1.5, 1 << 40, [], [1], {"a": 1}, {F: 3}, {"5": 3}):
        try:
            written(cls, {**SMALL, key: value})
        except GgufxError:
            continue


@pytest.mark.parametrize("cls", CLASSES)
def test_key_values_of_a_wrong_kind_are_errors_of_the_input(cls):
    spec = arch.BY_CLASS[cls][0]
    keys, _ = written(cls, SMALL)
    unfit = [string("six"), u32(1 << 31), array(ValueType.INT32, np.array([], np.int32)), array(ValueType.STRING, ["a"] * 6)]
    infos = {"token_embd.weight": StoredTensor("token_embd.weight", "F32", (500, 64), Path("x"), 0, 0)}
    for key in ("block_count", "attention.sliding_window_pattern", "expert_count", *(k for k in keys if k[:5] != "rope.")):
        for value in unfit:
            metadata, problems, refused = {f"{spec.name}.{k}": v for k, v in {**keys, key: value}.items()}, [], None
            try:
                read_hparams(spec, GgufFacts.of(plain(metadata), infos), "x", problems)
            except GgufxError as error:
                refused = str(error)
            if refused is not None:
                assert key in refused
                continue
            match_gguf(spec, sizes(spec, {k: v.data for k, v in metadata.items()}, 500, None), {}, "x", problems)
            assert problems


def test_a_pattern_that_is_too_short_is_named():
    keys, _ = written("Gemma4ForCausalLM", SMALL)
    keys["attention.sliding_window_pattern"] = array(ValueType.BOOL, np.array([True, False]))
    with pytest.raises(GgufxError, match=r"attention\.sliding_window_pattern lists 2 of 6 blocks"):
        back("Gemma4ForCausalLM", keys)


# -- whole models ---------------------------------------------------------------------------------------------------


def changed(source: Path, target: Path, config: dict | None = None, tensors=None) -> Path:
    """A copy of a model with other settings, and with its tensors changed in place by `tensors`."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    settings = json.loads((target / "config.json").read_text()) | (config or {})
    (target / "config.json").write_text(json.dumps(settings))
    if tensors is not None:
        held = load_file(target / "model.safetensors")
        tensors(held)
        save_file(held, target / "model.safetensors", metadata={"format": "pt"})
    return target


def raw(folder: Path) -> dict[str, bytes]:
    found = read_safetensors_header(folder / "model.safetensors").tensors
    data = (folder / "model.safetensors").read_bytes()
    return {name: data[t.offset : t.offset + t.nbytes] for name, t in found.items()}


def test_text_part_of_a_multimodal_model_comes_back_under_the_names_of_its_class(zoo, tmp_path):
    def smaller(tensors):  # than 1 + w can hold in float32: kept beside the tensors
        tensors["language_model.model.layers.0.input_layernorm.weight"][3] = 1e-8

    source = changed(zoo("gemma3-vl"), tmp_path / "source", tensors=smaller)
    plan = plan_hf_to_gguf(source, tmp_path / "x.gguf", GgufOptions())
    assert [note for note in plan.notes if "left out" in note] == [
        "multi_modal_projector.*: 2 tensors of another part of the model are left out",
        "vision_tower.*: 21 tensors of another part of the model are left out"]
    execute(plan)
    execute(plan_gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back", HfOptions()))
    before = {"model." + name.removeprefix("language_model.model."): data
              for name, data in raw(source).items() if name.startswith("language_model.")}
    assert raw(tmp_path / "back") == before
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == (["Gemma3ForCausalLM"], "gemma3_text")


def test_embedding_model_states_the_window_of_its_config(zoo, tmp_path):
    plan = plan_hf_to_gguf(zoo("embeddinggemma"), tmp_path / "x.gguf", GgufOptions())
    assert "2_Dense, 3_Dense: dense layers behind the pooling are left out; vectors are those before them" in plan.notes
    execute(plan)
    keys = read_gguf(tmp_path / "x.gguf").metadata
    stated = json.loads((zoo("embeddinggemma") / "config.json").read_text())["sliding_window"]
    assert keys["gemma-embedding.attention.sliding_window"].data == stated  # the class would say stated // 2 + 1
    assert keys["gemma-embedding.pooling_type"].data == 1
    execute(plan_gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back", HfOptions()))
    assert raw(tmp_path / "back") == raw(zoo("embeddinggemma"))


def test_blocks_that_share_keys_may_have_some_of_their_own(zoo, tmp_path):
    import torch

    def unused(tensors):
        tensors["model.layers.5.self_attn.k_proj.weight"] = torch.ones(128, 64, dtype=torch.bfloat16)

    source = changed(zoo("gemma4"), tmp_path / "source", tensors=unused)
    plan = plan_hf_to_gguf(source, tmp_path / "x.gguf", GgufOptions())
    assert "blk.5.attn_k.weight" in [t.name for t in plan.tensors]
    assert "blk.4.attn_k.weight" not in [t.name for t in plan.tensors]


def test_missing_tensors_are_told_from_those_that_need_not_be(zoo, tmp_path):
    def some(tensors):
        for name in ("layers.0.self_attn.v_proj", "layers.1.self_attn.k_norm", "per_layer_projection_norm"):
            del tensors[f"model.{name}.weight"]
        del tensors["model.layers.1.self_attn.v_proj.weight"]  # full attention: its keys are its values

    source = changed(zoo("gemma4"), tmp_path / "source", tensors=some)
    with pytest.raises(GgufxError) as caught:
        plan_hf_to_gguf(source, tmp_path / "x.gguf", GgufOptions())
    text = str(caught.value)
    assert "missing, the GGUF file cannot be made without" in text
    assert text.count("the source of ") == 3
    for name in ("blk.0.attn_v.weight", "blk.1.attn_k_norm.weight", "per_layer_proj_norm.weight"):
        assert f"the source of {name}" in text


def test_a_second_copy_of_the_embeddings_is_dropped_where_the_runtime_has_no_place_for_it(zoo, tmp_path):
    def twice(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    second = changed(zoo("gemma2"), tmp_path / "second", tensors=twice)
    third = changed(zoo("gemma3"), tmp_path / "third", tensors=twice)
    assert "output.weight" not in [t.name for t in plan_hf_to_gguf(second, tmp_path / "2.gguf", GgufOptions()).tensors]
    assert "output.weight" in [t.name for t in plan_hf_to_gguf(third, tmp_path / "3.gguf", GgufOptions()).tensors]
