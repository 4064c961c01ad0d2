"""Adapters merged into GGUF files: the tensors of the merged checkpoint's file, each in its own type."""

import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, UsageError
from zoo.adapters import make_adapter
from zoo.files import read_file, write_file
from zoo.quantized import importance, write_legacy

import ggufx

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXPERTS = {"target_modules": [], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
CONV1D = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}
CASES = {
    "linear": ("llama", {"target_modules": [*LINEAR, "embed_tokens", "lm_head"]}),
    "dora": ("llama", {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}),
    "biases": ("llama-bias", {"target_modules": ["q_proj"], "bias": "all"}),
    "saved": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm", "lm_head", "v_proj"]}),
    "saved-norms": ("gemma3", {"target_modules": LINEAR, "modules_to_save": ["input_layernorm"]}),
    "tokens": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": [3, 7]}),
    "tied": ("qwen2", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    "conv1d": ("gpt2-v4", CONV1D | {"use_dora": True}),
    "experts-apart": ("mixtral", EXPERTS),
    "experts-fused": ("qwen3moe-fused", EXPERTS),
    "mla": ("deepseek2", {"target_modules": ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"]}),
    "fused-projections": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_as_the_merged_checkpoint(case, zoo, tmp_path):
    name, settings = CASES[case]
    adapter = make_adapter(zoo(name), tmp_path / "adapter", settings)
    ggufx.hf_to_gguf(zoo(name), tmp_path / "base.gguf")
    ggufx.merge_lora(adapter, tmp_path / "merged.gguf", base=tmp_path / "base.gguf")
    ggufx.hf_to_gguf(zoo(name), tmp_path / "expected.gguf", lora=adapter)
    base, merged, expected = (read_file(tmp_path / f"{n}.gguf")[1] for n in ("base", "merged", "expected"))
    assert merged == expected != base


def test_types_are_kept_or_chosen(zoo, tmp_path):
    """A merged Q4_K tensor is quantized again, with importance weights where given; the others are copied."""
    base = zoo("llama-256")
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": ["q_proj", "down_proj"]})
    path = tmp_path / "base.gguf"
    ggufx.hf_to_gguf(base, path, outtype="q4_k_m")
    ggufx.merge_lora(adapter, tmp_path / "merged.gguf", base=path)
    keys, before = read_file(path)
    after_keys, after = read_file(tmp_path / "merged.gguf")
    assert {n: t[:2] for n, t in after.items()} == {n: t[:2] for n, t in before.items()}
    changed = {n for n in after if after[n] != before[n]}
    assert {n.split(".")[2] for n in changed} == {"attn_q", "ffn_down"}
    assert after_keys["general.file_type"] == keys["general.file_type"]
    report = ggufx.verify(path, tmp_path / "merged.gguf", lora=adapter)
    assert report.same
    assert any("adapters change" in note and all(name in note for name in changed) for note in map(str, report.notes))
    assert not ggufx.verify(path, tmp_path / "merged.gguf", lora=f"{adapter}@0.5").same
    imatrix = tmp_path / "imatrix.dat"
    write_legacy(imatrix, importance(path))
    ggufx.merge_lora(adapter, tmp_path / "weighted.gguf", base=path, imatrix=imatrix)
    weighted = read_file(tmp_path / "weighted.gguf")[1]
    assert {n for n in after if after[n] != weighted[n]} == changed
    done = ggufx.merge_lora(adapter, tmp_path / "{outtype}.gguf", base=path, outtype="q8_0,f16")
    assert [f.path.name for f in done.files] == ["q8_0.gguf", "f16.gguf"]
    assert read_file(tmp_path / "q8_0.gguf")[1]["blk.0.attn_q.weight"][0] == "Q8_0"


def test_gguf_adapters(zoo, tmp_path):
    """The same tensors as by the PEFT folder that the adapter was made of; a scale multiplies; another's are refused."""
    settings = {"target_modules": [*LINEAR, "embed_tokens"]}
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", settings)
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "base.gguf")
    ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "adapter.gguf")
    made = []
    for number, given in enumerate((adapter, tmp_path / "adapter.gguf", f"{tmp_path / 'adapter.gguf'}@0.5")):
        ggufx.merge_lora(given, tmp_path / f"{number}.gguf", base=tmp_path / "base.gguf")
        made.append(read_file(tmp_path / f"{number}.gguf")[1])
    assert made[0] == made[1] != made[2]
    ggufx.hf_to_gguf(zoo("qwen2"), tmp_path / "other.gguf")
    with pytest.raises(InputError, match="another architecture"):
        ggufx.merge_lora(tmp_path / "adapter.gguf", tmp_path / "x.gguf", base=tmp_path / "other.gguf")
    keys, tensors = read_file(tmp_path / "adapter.gguf")
    kind, shape, data = tensors["blk.0.attn_q.weight.lora_a"]
    tensors["blk.0.attn_q.weight.lora_a"] = kind, (shape[0], shape[1] // 2), data[: len(data) // 2]
    write_file(tmp_path / "bad.gguf", keys, tensors)
    with pytest.raises(InputError, match="do not fit"):
        ggufx.merge_lora(tmp_path / "bad.gguf", tmp_path / "x.gguf", base=tmp_path / "base.gguf")
    with pytest.raises(InputError, match="no GGUF adapter"):
        ggufx.merge_lora(tmp_path / "other.gguf", tmp_path / "x.gguf", base=tmp_path / "base.gguf")


def test_stacks_of_experts(zoo, tmp_path):
    adapter = make_adapter(zoo("qwen3moe"), tmp_path / "adapter", EXPERTS)
    ggufx.hf_to_gguf(zoo("qwen3moe"), tmp_path / "base.gguf")
    ggufx.lora_to_gguf(adapter, base=zoo("qwen3moe"), outfile=tmp_path / "adapter.gguf")
    for given in ("adapter", "adapter.gguf"):
        ggufx.merge_lora(tmp_path / given, tmp_path / f"{given}.merged.gguf", base=tmp_path / "base.gguf")
    one, two = (read_file(tmp_path / f"{given}.merged.gguf")[1] for given in ("adapter", "adapter.gguf"))
    assert one == two


@pytest.mark.parametrize("modules", ["lm_head", "embed_tokens"])
def test_a_tied_file_has_no_place_for_another_head(modules, zoo, tmp_path):
    adapter = make_adapter(zoo("qwen2"), tmp_path / "adapter", {"target_modules": ["q_proj"], "modules_to_save": [modules]})
    ggufx.hf_to_gguf(zoo("qwen2"), tmp_path / "base.gguf")
    with pytest.raises(UnsupportedError, match="ties its head"):
        ggufx.merge_lora(adapter, tmp_path / "merged.gguf", base=tmp_path / "base.gguf")
    assert not (tmp_path / "merged.gguf").exists()


def test_what_is_refused(zoo, tmp_path):
    base = zoo("llama-256")
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": ["q_proj"]})
    ggufx.hf_to_gguf(base, tmp_path / "base.gguf")
    imatrix = tmp_path / "imatrix.dat"
    write_legacy(imatrix, importance(tmp_path / "base.gguf"))
    ggufx.quantize(tmp_path / "base.gguf", tmp_path / "iq2.gguf", "q8_0", imatrix=imatrix, tensor_types={"attn_q": "iq2_xxs"})
    with pytest.raises(GgufxError, match="IQ2_XXS needs an importance matrix"):
        ggufx.merge_lora(adapter, tmp_path / "x.gguf", base=tmp_path / "iq2.gguf")
    with pytest.raises(UsageError, match="keeps the types of its base"):
        ggufx.merge_lora(adapter, tmp_path / "x", base=base, outtype="q8_0")
    with pytest.raises(UsageError, match="same file"):
        ggufx.merge_lora(adapter, tmp_path / "base.gguf", base=tmp_path / "base.gguf", force=True)
