"""Qwen2, Qwen3, Qwen3-MoE: biases, embedders without prefix, both layouts of experts, settings the runtime does not know."""

import json

import pytest
import torch
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError
from ggufx.converters.rules.hf_config import canonical
from ggufx.converters.rules.hparams import write_hparams
from zoo.files import MISSING, changed_copy, load_folder, read_file, write_file

from ggufx import gguf_to_hf, hf_to_gguf

EXPERTS = "model.layers.{}.mlp.experts."


def equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert torch.equal(left[name], right[name]), name


def fused(tensors):
    """The experts of each layer in two tensors, as transformers 5 holds them."""
    out = {name: t for name, t in tensors.items() if ".experts." not in name}
    for layer in (0, 1):
        gate, up, down = ([tensors[f"{EXPERTS.format(layer)}{e}.{part}_proj.weight"] for e in range(4)]
                          for part in ("gate", "up", "down"))
        out[EXPERTS.format(layer) + "gate_up_proj"] = torch.stack([torch.cat(pair) for pair in zip(gate, up, strict=True)])
        out[EXPERTS.format(layer) + "down_proj"] = torch.stack(down)
    return out


def test_both_layouts_of_experts_make_the_same_file_and_come_back_as_they_were(zoo, tmp_path):
    separate = zoo("qwen3moe")
    together = changed_copy(separate, tmp_path / "fused", fused)
    files = {}
    for name, folder in (("separate", separate), ("fused", together)):
        hf_to_gguf(folder, tmp_path / f"{name}.gguf")
        files[name] = read_file(tmp_path / f"{name}.gguf")[1]
        gguf_to_hf(tmp_path / f"{name}.gguf", tmp_path / f"{name}-back")
        equal(load_folder(tmp_path / f"{name}-back"), load_folder(folder))
    assert files["separate"] == files["fused"]


def test_experts_of_a_file_without_a_record_come_back_as_on_the_hub(zoo, tmp_path):
    folder = changed_copy(zoo("qwen3moe"), tmp_path / "fused", fused)
    hf_to_gguf(folder, tmp_path / "plain.gguf", plain=True)
    gguf_to_hf(tmp_path / "plain.gguf", tmp_path / "back")
    equal(load_folder(tmp_path / "back"), load_folder(zoo("qwen3moe")))


def test_gate_and_up_in_one_tensor_of_another_makers_file(zoo, tmp_path):
    hf_to_gguf(zoo("qwen3moe"), tmp_path / "plain.gguf", plain=True)
    metadata, tensors = read_file(tmp_path / "plain.gguf")
    for b in (0, 1):
        (kind, shape, gate), (_, _, up) = (tensors.pop(f"blk.{b}.ffn_{part}_exps.weight") for part in ("gate", "up"))
        step = len(gate) // shape[0]
        data = b"".join(part[e * step : (e + 1) * step] for e in range(shape[0]) for part in (gate, up))
        tensors[f"blk.{b}.ffn_gate_up_exps.weight"] = (kind, (shape[0], 2 * shape[1], shape[2]), data)
    gguf_to_hf(write_file(tmp_path / "joined.gguf", metadata, tensors), tmp_path / "back")
    back, expected = load_folder(tmp_path / "back"), fused(load_folder(zoo("qwen3moe")))
    for layer in (0, 1):
        name = EXPERTS.format(layer) + "gate_up_proj"
        assert torch.equal(back[name], expected[name])


def headless(tensors):
    return {name.removeprefix("model."): t for name, t in tensors.items() if name != "lm_head.weight"}


@pytest.mark.parametrize(("model", "cls"), [("qwen2", "Qwen2Model"), ("qwen3", "Qwen3ForCausalLM")])
def test_an_embedder_without_prefix_keeps_its_names_and_its_pooling(model, cls, zoo, tmp_path):
    folder = changed_copy(zoo(model), tmp_path / "embedder", headless, architectures=[cls], tie_word_embeddings=True)
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true, "pooling_mode_cls_token": false}')
    hf_to_gguf(folder, tmp_path / "x.gguf")
    metadata, tensors = read_file(tmp_path / "x.gguf")
    assert metadata[f"{model}.pooling_type"].data == 3
    assert "blk.0.attn_q.weight" in tensors
    assert "output.weight" not in tensors
    gguf_to_hf(tmp_path / "x.gguf", tmp_path / "back")
    equal(load_folder(tmp_path / "back"), load_folder(folder))


def problems(folder, tmp_path):
    with pytest.raises(GgufxError) as error:
        hf_to_gguf(folder, tmp_path / "never.gguf")
    assert not (tmp_path / "never.gguf").exists()
    return str(error.value)


def test_missing_tensors_are_all_named(zoo, tmp_path):
    def drop(tensors):
        del tensors["model.layers.1.self_attn.k_proj.bias"], tensors["model.layers.0.mlp.up_proj.weight"]

    text = problems(changed_copy(zoo("qwen2"), tmp_path / "x", drop), tmp_path)
    assert "model.layers.1.self_attn.k_proj.bias" in text
    assert "model.layers.0.mlp.up_proj.weight" in text


def test_a_missing_expert_and_one_too_many_are_named(zoo, tmp_path):
    def move(tensors):
        tensors[EXPERTS.format(0) + "4.up_proj.weight"] = tensors.pop(EXPERTS.format(0) + "2.up_proj.weight")

    text = problems(changed_copy(zoo("qwen3moe"), tmp_path / "x", move), tmp_path)
    assert "others of its stack or set are missing (expected " in text
    assert "experts.2.up_proj.weight" in text
    assert "experts 0 to 3" in text


def test_experts_in_both_layouts_at_once_are_refused(zoo, tmp_path):
    text = problems(changed_copy(zoo("qwen3moe"), tmp_path / "x", lambda t: t | fused(t)), tmp_path)
    assert "make the same GGUF tensor" in text


def test_biases_that_the_runtime_does_not_have_are_refused(zoo, tmp_path):
    def add(tensors):
        tensors["model.layers.0.self_attn.o_proj.bias"] = torch.ones(64)

    text = problems(changed_copy(zoo("qwen3"), tmp_path / "x", add, attention_bias=True), tmp_path)
    assert "no rule" in text
    assert "self_attn.o_proj.bias" in text


@pytest.mark.parametrize(("model", "setting", "said"), [
    ("qwen2", {"use_sliding_window": True}, "use_sliding_window"),
    ("qwen3", {"hidden_act": "gelu"}, "hidden_act"),
    ("qwen3moe", {"norm_topk_prob": False}, "norm_topk_prob"),
    ("qwen3moe", {"norm_topk_prob": MISSING}, "norm_topk_prob"),
])
def test_settings_that_the_runtime_does_not_know_are_said(model, setting, said, zoo, tmp_path):
    assert not any("runtime always" in n for n in hf_to_gguf(zoo(model), tmp_path / "a.gguf", dry_run=True).notes)
    plan = hf_to_gguf(changed_copy(zoo(model), tmp_path / "x", **setting), tmp_path / "b.gguf", dry_run=True)
    assert any("runtime always" in note and said in note for note in plan.notes)


SMALL = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 64}


@pytest.mark.parametrize(("cls", "given", "heads", "length"), [
    ("Qwen2ForCausalLM", {}, 32, None),
    ("Qwen2ForCausalLM", {"num_key_value_heads": None}, 64, None),
    ("Qwen3ForCausalLM", {}, 32, 128),
    ("Qwen3ForCausalLM", {"num_key_value_heads": 8, "head_dim": 16}, 8, 16),
])
def test_what_a_config_without_the_keys_stands_for(cls, given, heads, length):
    spec, found = arch.BY_CLASS[cls][0], []
    keys = write_hparams(spec, canonical(SMALL | given, spec, "config.json"), [], found)
    assert not found
    assert keys[f"{spec.name}.attention.head_count_kv"].data == heads
    assert (keys[f"{spec.name}.attention.key_length"].data if length else None) == length


def test_missing_sizes_are_all_named():
    spec, found = arch.BY_CLASS["Qwen3MoeForCausalLM"][0], []
    write_hparams(spec, canonical({"hidden_size": 64}, spec, "config.json"), [], found)
    text = " ".join(str(problem) for problem in found)
    for key in ("num_hidden_layers", "intermediate_size", "num_attention_heads", "num_experts", "moe_intermediate_size"):
        assert f"no {key}" in text


@pytest.mark.parametrize(("sections", "said"), [
    ([24, 20, 20], True), (None, True), ([22, 21, 21], False), ([11, 11, 10], False)])
def test_pairs_that_the_runtime_does_not_turn_are_said(sections, said):
    spec, notes = arch.BY_CLASS["Qwen3VLForConditionalGeneration"][0], []
    config = {"text_config": {"rope_parameters": {"rope_type": "default"} | ({"mrope_section": sections} if sections else {})}}
    write_hparams(spec, canonical(config, spec, "config.json"), notes, [])
    assert any("does not turn" in note for note in notes) == said
