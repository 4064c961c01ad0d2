"""Quantized checkpoints: the method is named, in one line, whether config.json declares it or only the tensors show it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from ggufx.converters.errors import ManyErrors, UnsupportedError
from safetensors.torch import load_file, save_file

import ggufx


def packed(*names: str):
    """A weight as bytes, with companions."""
    return lambda module, w: {f"{module}.{n}": torch.zeros(w.shape[0], 4, dtype=torch.int32) for n in names}


def eight(companion: str):
    return lambda module, w: {f"{module}.weight": w.to(torch.float8_e4m3fn), f"{module}.{companion}": torch.ones(1)}


GPTQ = packed("qweight", "qzeros", "scales", "g_idx")
CASES = {
    "gptq": (GPTQ, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "GPTQ, 4 bits"),
    "gptq, undeclared": (GPTQ, {}, "GPTQ"),
    "awq": (packed("qweight", "qzeros", "scales"), {"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ, 4 bits"),
    "fp8": (eight("weight_scale_inv"), {"quantization_config": {"quant_method": "fp8"}}, "FP8"),
    "fp8, undeclared": (eight("weight_scale_inv"), {}, "FP8"),
    "fp8 in the text part": (eight("weight_scale"), {"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "FP8"),
    "compressed-tensors": (packed("weight_packed", "weight_scale", "weight_shape"),
                           {"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
    "bitsandbytes": (packed("weight", "weight.absmax", "weight.quant_state.bitsandbytes__nf4"),
                     {"quantization_config": {"load_in_4bit": True}}, "bitsandbytes, 4 bits"),
    "bitsandbytes, undeclared": (packed("weight", "weight.absmax", "weight.quant_state.bitsandbytes__nf4"), {},
                                 "bitsandbytes, NF4"),
    "mlx": (packed("weight", "scales", "biases"), {"quantization": {"group_size": 64, "bits": 4}}, "MLX, 4 bits"),
    "unheard of": (packed("weight"), {"quantization_config": {"quant_method": "x\x1b[31m"}}, r"x\x1b[31m"),
}


def quantized(folder: Path, copy: Path, change, settings: dict) -> Path:
    shutil.copytree(folder, copy)
    made = {}
    for name, w in load_file(copy / "model.safetensors").items():
        made |= change(name.removesuffix(".weight"), w) if "proj" in name else {name: w}
    save_file(made, copy / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **settings}))
    return copy


@pytest.mark.parametrize("case", CASES)
def test_one_line_that_names_the_method(case: str, zoo, tmp_path: Path):
    change, settings, name = CASES[case]
    folder = quantized(zoo("llama"), tmp_path / "m", change, settings)
    (folder / "README.md").write_text("---\nbase_model: org/plain\n---\n")
    with pytest.raises(UnsupportedError) as caught:
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")
    assert not isinstance(caught.value, ManyErrors)
    assert caught.value.message == f"is a quantized checkpoint ({name}), which ggufx does not decode"
    assert caught.value.hint == "Convert the checkpoint that it was made from: org/plain."


@pytest.mark.parametrize(("file", "text"), [("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}),
                                            ("quantize_config.json", {"quant_method": "gptq", "bits": 3})])
def test_declared_in_a_file_of_its_own(file: str, text: dict, zoo, tmp_path: Path):
    folder = quantized(zoo("llama"), tmp_path / "m", packed("weight"), {})
    (folder / file).write_text(json.dumps(text))
    with pytest.raises(UnsupportedError, match="NVFP4" if "hf" in file else "GPTQ, 3 bits"):
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")


def test_a_leftover_declaration_over_plain_weights(zoo, tmp_path: Path):
    folder = quantized(zoo("llama"), tmp_path / "m", lambda m, w: {f"{m}.weight": w},
                       {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}})
    notes = ggufx.hf_to_gguf(folder, tmp_path / "a.gguf", dry_run=True).notes
    assert any("config.json speaks of quantized weights (bitsandbytes, 4 bits)" in note for note in notes)


def test_what_a_table_takes_is_taken(zoo, tmp_path: Path):
    notes = ggufx.hf_to_gguf(zoo("gptoss-mxfp4"), tmp_path / "a.gguf", dry_run=True).notes
    assert not any("quantized" in note for note in notes)


def test_a_fault_of_a_plain_checkpoint_stays_what_it_is(zoo, tmp_path: Path):
    folder = quantized(zoo("llama"), tmp_path / "m", lambda m, w: {}, {"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(ManyErrors, match="cannot be made without it"):
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")
