"""mlx-lm's adapters give what the same adapter of PEFT gives."""

import json

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.sources.hf_folder import base_of
from safetensors.numpy import load_file, save_file
from zoo.adapters import make_adapter
from zoo.files import read_file, stored
from zoo.fill import bell

import ggufx

LINEAR = ["q_proj", "v_proj", "down_proj"]


def as_mlx(adapter, folder, **changes):
    """A PEFT adapter of alpha 8 as mlx-lm would have saved it."""
    folder.mkdir()
    tensors, rank = {}, 0
    for name, x in load_file(adapter / "adapter_model.safetensors").items():
        name = name.removeprefix("base_model.model.").removesuffix(".weight")
        name = name.replace("lora_A", "lora_a").replace("lora_B", "lora_b")
        rank = x.shape[0] if name.endswith("lora_a") else rank
        tensors[name] = np.ascontiguousarray(x.T)
    save_file(tensors, folder / "adapters.safetensors")
    config = {"fine_tune_type": "lora", "model": "org/base", "num_layers": 2,
              "lora_parameters": {"rank": rank, "scale": 8 / rank, "dropout": 0.0}, **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def pair(zoo, tmp_path_factory):
    """An adapter of PEFT and the same of mlx-lm."""
    root = tmp_path_factory.mktemp("mlx")
    adapter = make_adapter(zoo("llama"), root / "peft", {"target_modules": LINEAR})
    return adapter, as_mlx(adapter, root / "mlx")


def test_the_same_file(pair, zoo, tmp_path):
    base = zoo("llama")
    for number, adapter in enumerate(pair):
        ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / f"{number}.gguf", plain=True, model_name="x")
    (keys, one), (other_keys, two) = (read_file(tmp_path / f"{number}.gguf") for number in (0, 1))
    assert one == {name: two[name] for name in one}
    assert keys["adapter.lora.alpha"] == other_keys["adapter.lora.alpha"]
    assert other_keys["general.base_model.0.repo_url"].data == "https://huggingface.co/org/base"
    assert base_of(pair[1]) == "org/base"


def test_it_comes_back_as_pefts(pair, zoo, tmp_path):
    ggufx.lora_to_gguf(pair[1], base=zoo("llama"), outfile=tmp_path / "a.gguf")
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=zoo("llama"))
    back, given = (load_file(f / "adapter_model.safetensors") for f in (tmp_path / "back", pair[0]))
    assert back.keys() == given.keys()
    assert all(np.array_equal(back[name], given[name]) for name in given)
    assert ggufx.verify(pair[0], pair[1], ignore=["*"]).same
    assert ggufx.verify(pair[1], tmp_path / "a.gguf", base=zoo("llama")).same
    assert ggufx.inspect(pair[1]).facts["rank"] == 4


def test_it_is_merged_as_pefts(pair, zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "base.gguf")
    for number, adapter in enumerate(pair):
        ggufx.merge_lora(adapter, tmp_path / str(number), base=zoo("llama"), max_memory=1 << 16)
        ggufx.merge_lora(adapter, tmp_path / f"{number}.gguf", base=tmp_path / "base.gguf")
    assert stored(tmp_path / "0") == stored(tmp_path / "1")
    assert read_file(tmp_path / "0.gguf")[1] == read_file(tmp_path / "1.gguf")[1]


def test_embeddings_and_stacked_experts(zoo, tmp_path):
    base = zoo("mixtral")
    config = json.loads((base / "config.json").read_text())
    width, ff, experts, words = (config[k] for k in ("hidden_size", "intermediate_size", "num_local_experts", "vocab_size"))
    tensors = {"model.layers.0.block_sparse_moe.switch_mlp.up_proj.lora_a": bell("a", (experts, 4, width)),
               "model.layers.0.block_sparse_moe.switch_mlp.up_proj.lora_b": bell("b", (experts, ff, 4)),
               "model.embed_tokens.lora_a": bell("c", (words, 4)), "model.embed_tokens.lora_b": bell("d", (4, width))}
    folder = tmp_path / "a"
    folder.mkdir()
    save_file(tensors, folder / "adapters.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_parameters": {"scale": 2.0}}))
    ggufx.lora_to_gguf(folder, base=base, outfile=tmp_path / "a.gguf", plain=True)
    keys, found = read_file(tmp_path / "a.gguf")
    assert keys["adapter.lora.alpha"].data == 8
    made = {name: np.frombuffer(raw, np.float32).reshape(shape) for name, (_, shape, raw) in found.items()}
    ours = dict(zip(("blk.0.ffn_up_exps.weight.lora_a", "blk.0.ffn_up_exps.weight.lora_b", "token_embd.weight.lora_a"),
                    tensors.values(), strict=False))
    assert all(np.array_equal(made[name], x) for name, x in ours.items())
    assert np.array_equal(made["token_embd.weight.lora_b"], tensors["model.embed_tokens.lora_b"].T)


@pytest.mark.parametrize(("changes", "words"), [
    ({"fine_tune_type": "full"}, "whole weights"),
    ({"fine_tune_type": "dora"}, "DoRA"),
    ({"lora_parameters": {"scale": "x"}}, "no usable scale"),
])
def test_what_is_refused(changes, words, pair, zoo, tmp_path):
    folder = as_mlx(pair[0], tmp_path / "mlx", **changes)
    with pytest.raises(GgufxError, match=words):
        ggufx.lora_to_gguf(folder, base=zoo("llama"), outfile=tmp_path / "a.gguf")


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.moe.switch_x.lora_a"])
def test_other_tensors_are_refused_by_name(name, pair, zoo, tmp_path):
    folder = as_mlx(pair[0], tmp_path / "mlx")
    tensors = load_file(folder / "adapters.safetensors")
    save_file(tensors | {name: bell("x", (2, 4, 8))}, folder / "adapters.safetensors")
    with pytest.raises(GgufxError, match=r"factor of mlx-lm|stack of experts"):
        ggufx.lora_to_gguf(folder, base=zoo("llama"), outfile=tmp_path / "a.gguf")


@pytest.mark.parametrize("settings", [{"peft_type": "LORA", "r": 4}, {"fine_tune_type": "lora"}])
def test_an_adapter_without_tensors(zoo, tmp_path, settings):
    name = "adapter_model" if "r" in settings else "adapters"
    save_file({}, tmp_path / f"{name}.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    for convert in (ggufx.lora_to_gguf, ggufx.merge_lora):
        with pytest.raises(GgufxError, match="holds no tensor"):
            convert(tmp_path, base=zoo("llama"), outfile=tmp_path / "out.gguf")
