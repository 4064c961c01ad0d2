"""Which class a checkpoint is taken for: named, told from model_type, asked for, or offered."""

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.errors import InputError, UnsupportedError
from zoo import golden
from zoo.adapters import make_adapter
from zoo.models import MODELS
from zoo.proof import beside

import ggufx


def changed(folder: Path, made: Path, **settings: object) -> Path:
    """The folder with other settings in its config.json; None takes one away."""
    shutil.copytree(folder, made)
    config = json.loads((made / "config.json").read_text()) | settings
    (made / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return made


def other_names() -> dict[str, str]:
    """Class names that no row of the zoo has, and a row of the same table."""
    rows = {id(golden.table(row)): name for name, row in reversed(MODELS.items())}
    shown = {row.cls for row in MODELS.values()}
    return {cls: rows[id(spec)] for spec in SPECS for cls in spec.classes if cls not in shown and id(spec) in rows}


OTHER_NAMES = other_names()


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_another_name_of_a_class_makes_the_same_file(zoo, tmp_path, name):
    """But for a head, which a class without one may leave to the embedding."""
    row = OTHER_NAMES[name]
    source = changed(zoo(row), tmp_path / row, architectures=[name])
    plans = [ggufx.hf_to_gguf(folder, tmp_path / "model.gguf", plain=True, dry_run=True, model_name="x", **beside(row, zoo))
             for folder in (zoo(row), source)]
    assert plans[0].tensors == plans[1].tensors
    assert [file.size for file in plans[0].outputs] == [file.size for file in plans[1].outputs]
    assert [file.head for file in plans[0].outputs] == [file.head for file in plans[1].outputs]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "README.md"}


def test_without_a_name_model_type_tells_the_class(zoo, tmp_path):
    source = changed(zoo("llama"), tmp_path / "source", architectures=None)
    plan = ggufx.hf_to_gguf(source, tmp_path / "model.gguf", dry_run=True)
    assert "config.json names no architecture: taken for LlamaForCausalLM, by its model_type" in plan.notes
    ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "back")
    assert (tmp_path / "back/config.json").read_bytes() == (source / "config.json").read_bytes()
    assert ggufx.verify(tmp_path / "model.gguf", tmp_path / "back").same


@pytest.mark.parametrize("model_type", [None, "nobody_knows", ["llama"]])
def test_without_either_it_is_an_error(zoo, tmp_path, model_type):
    source = changed(zoo("llama"), tmp_path / "source", architectures=None, model_type=model_type)
    with pytest.raises(InputError, match="names no architecture"):
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")


def test_a_new_name_of_a_known_model_is_offered_not_guessed(zoo, tmp_path):
    source = changed(zoo("llama"), tmp_path / "source", architectures=["BrandNewForCausalLM"])
    with pytest.raises(UnsupportedError, match="BrandNewForCausalLM") as caught:
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
    assert "hf_class LlamaForCausalLM" in caught.value.hint
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize("settings", [{"model_type": "brand_new"}, {"intermediate_size": 64}, {"num_hidden_layers": 3}])
def test_nothing_is_offered_that_does_not_fit(zoo, tmp_path, settings):
    source = changed(zoo("llama"), tmp_path / "source", architectures=["BrandNewForCausalLM"], **settings)
    with pytest.raises(UnsupportedError, match="BrandNewForCausalLM") as caught:
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
    assert "hf_class" not in caught.value.hint


def test_taken_for_a_class_it_has_the_bytes_of_that_class(zoo, tmp_path):
    source = changed(zoo("llama"), tmp_path / "source", architectures=["BrandNewForCausalLM"])
    for plain in (False, True):
        ggufx.hf_to_gguf(source, tmp_path / f"new-{plain}.gguf", hf_class="LlamaForCausalLM", plain=plain, model_name="x")
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / f"known-{plain}.gguf", plain=plain, model_name="x")
    assert (tmp_path / "new-True.gguf").read_bytes() == (tmp_path / "known-True.gguf").read_bytes()
    ggufx.gguf_to_hf(tmp_path / "new-False.gguf", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(source)
    assert ggufx.verify(source, tmp_path / "new-False.gguf").same  # the file tells
    assert ggufx.verify(tmp_path / "new-False.gguf", tmp_path / "back").same
    assert ggufx.verify(source, tmp_path / "new-True.gguf", hf_class="LlamaForCausalLM").same


def test_a_class_that_it_does_not_fit_is_an_error(zoo, tmp_path):
    with pytest.raises(ggufx.GgufxError):
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "model.gguf", hf_class="BertModel")
    with pytest.raises(UnsupportedError, match="'Nonsense' is not supported"):
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "model.gguf", hf_class="Nonsense")


def test_the_base_of_an_adapter_may_have_a_new_name(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj", "down_proj"]})
    base = changed(zoo("llama"), tmp_path / "base", architectures=["BrandNewForCausalLM"])
    options = {"model_name": "x", "plain": True}
    ggufx.lora_to_gguf(adapter, outfile=tmp_path / "new.gguf", base=base, hf_class="LlamaForCausalLM", **options)
    ggufx.lora_to_gguf(adapter, outfile=tmp_path / "known.gguf", base=zoo("llama"), **options)
    assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "known.gguf").read_bytes()
    assert ggufx.verify(adapter, tmp_path / "new.gguf", base=base, hf_class="LlamaForCausalLM").same
    ggufx.lora_to_gguf(adapter, outfile=tmp_path / "own.gguf", base=base, hf_class="LlamaForCausalLM")
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back", base=base)
    assert ggufx.verify(adapter, tmp_path / "back", base=base).same


def test_verify_takes_the_base_that_the_adapter_names(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    ggufx.lora_to_gguf(adapter, outfile=tmp_path / "adapter.gguf")
    assert ggufx.verify(adapter, tmp_path / "adapter.gguf").same
