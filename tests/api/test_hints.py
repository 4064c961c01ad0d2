"""What to do next, in the words of Python: arguments, not options of the command line."""

import inspect

import pytest

import ggufx
from ggufx import GgufxError, arguments


def test_hints_name_arguments(zoo, tmp_path):
    (tmp_path / "a.gguf").touch()
    with pytest.raises(GgufxError) as caught:
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf")
    assert "Pass force=True to replace it." in str(caught.value)
    assert "--" not in str(caught.value)


def test_hints_of_several_problems(zoo, tmp_path):
    (tmp_path / "q8_0").touch()
    (tmp_path / "f16").touch()
    with pytest.raises(GgufxError) as caught:
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "{outtype}", outtype=["q8_0", "f16"])
    assert "force=True" in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(("hint", "said"), [
    ("Give one with --imatrix, or choose another type.", "Give one with imatrix, or choose another type."),
    ("convert it with --as LlamaForCausalLM", "convert it with hf_class LlamaForCausalLM"),
    ("or pass --allow-requantize.", "or pass allow_requantize=True."),
    ("a - b -- c", "a - b -- c"),
    ("llama.cpp takes it (--lora), or `ggufx lora-to-gguf --outtype` --outtype", "llama.cpp takes it (--lora), or `ggufx "
     "lora-to-gguf --outtype` outtype"),
])
def test_options_become_arguments(hint, said):
    assert arguments.in_python(hint, inspect.signature(ggufx.quantize).parameters.keys() | {"hf_class"}) == said
