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


GPTQ = packed("qweight", "qzeros", "scales", "g_idx")
CASES = {
    "aqlm": (packed("codes", "codebooks", "scales"), {"quantization_config": {"quant_method": "aqlm"}},
             "AQLM", ": its weights are sums of vectors from learned codebooks"),
    "aqlm, undeclared": (packed("codes", "codebooks", "scales"), {}, "AQLM",
                         ": its weights are sums of vectors from learned codebooks"),
    "quip#": (packed("Qidxs", "SU", "SV"), {}, "QuIP#", ": its weights are sums of vectors from learned codebooks"),
    "exl2": (packed("q_weight", "q_scale"), {"quantization_config": {"quant_method": "exl2", "bits": 4.0}}, "EXL2",
             ": its groups of rows have different bits, in the order of one kernel"),
    "exl3": (packed("trellis", "suh"), {}, "EXL3", ": its weights are a trellis code, rotated on both sides"),
    "qtip": (packed("weight"), {"quantization_config": {"quant_method": "qtip"}}, "QTIP",
             ": its weights are a trellis code, rotated on both sides"),
    "spinquant": (packed("weight_packed"), {"quantization_config": {"quant_method": "compressed-tensors",
                                                                     "transform_config": {"config_groups": {"R1": {}}}}},
                  "compressed-tensors",
                  ": transform_config is set: its weights are rotated, and the rotation is part of the runtime"),
    "marlin": (GPTQ, {"quantization_config": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}},
               "GPTQ, 4 bits", ": checkpoint_format is marlin: its weights are laid out for one GPU kernel"),
    "mlx, turned": (packed("embed_q.weight", "embed_q.scales"), {"quantization": {"bits": 4, "group_size": 64}}, "MLX",
                    ": its tensors are stacked, turned or changed as mlx-lm has them, not as the model's own class"),
    "of no form": (packed("weight", "odd"), {"quantization_config": {"quant_method": "hqq"}}, "HQQ", ""),
    "unheard of": (packed("weight"), {"quantization_config": {"quant_method": "x\x1b[31m"}}, r"x\x1b[31m",
                   ": the method is unknown"),
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
    change, settings, name, why = CASES[case]
    folder = quantized(zoo("llama"), tmp_path / "m", change, settings)
    (folder / "README.md").write_text("---\nbase_model: org/plain\n---\n")
    with pytest.raises(UnsupportedError) as caught:
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")
    assert not isinstance(caught.value, ManyErrors)
    assert caught.value.message == f"is a quantized checkpoint ({name}), which ggufx does not decode{why}"
    assert caught.value.hint == "Convert the checkpoint that it was made from: org/plain."


@pytest.mark.parametrize(("file", "text"), [("hf_quant_config.json", {"quantization": {"quant_algo": "W4A8"}}),
                                            ("quantize_config.json", {"quant_method": "gptq", "bits": 3})])
def test_declared_in_a_file_of_its_own(file: str, text: dict, zoo, tmp_path: Path):
    folder = quantized(zoo("llama"), tmp_path / "m", packed("weight"), {})
    (folder / file).write_text(json.dumps(text))
    with pytest.raises(UnsupportedError, match="W4A8" if "hf" in file else "GPTQ, 3 bits"):
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
