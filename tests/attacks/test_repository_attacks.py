"""Repositories that want more than to be converted: code, templates, absurd sizes, names."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from safetensors.torch import load_file, save_file

import ggufx


@pytest.fixture
def folder(zoo, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(zoo("llama"), copy)
    return copy


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_code_of_a_repository_is_never_run(folder: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w').write('ran')\nclass Custom: pass\n"
    for name in ("modeling_custom", "configuration_custom", "tokenization_custom", "conversion", "setup", "sitecustomize"):
        (folder / f"{name}.py").write_text(code)
    edit(folder / "config.json", auto_map={"AutoConfig": "configuration_custom.Custom", "AutoModel": "modeling_custom.Custom",
                                           "AutoModelForCausalLM": "modeling_custom.Custom"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_custom.Custom", None]})
    done = subprocess.run([sys.executable, "-m", "ggufx", "hf-to-gguf", ".", "-o", tmp_path / "a.gguf"], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert not canary.exists()


def test_a_chat_template_is_data(folder: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    template = ("{{ cycler.__init__.__globals__.os.popen('touch " + str(canary) + "').read() }}"
                "{% for i in range(10**12) %}{% endfor %}{% unclosed")
    (folder / "chat_template.jinja").write_text(template)
    ggufx.hf_to_gguf(folder, tmp_path / "a.gguf", plain=True)
    assert read_gguf(tmp_path / "a.gguf").metadata["tokenizer.chat_template"].data == template
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert (tmp_path / "back" / "chat_template.jinja").read_text() == template
    assert not canary.exists()


@pytest.mark.parametrize("changes", [
    {"num_hidden_layers": 10**9}, {"num_hidden_layers": -1}, {"num_hidden_layers": "2"}, {"num_attention_heads": 0},
    {"hidden_size": 10**18}, {"vocab_size": -5}, {"rms_norm_eps": "small"}, {"rope_parameters": [1, 2]},
    {"architectures": "LlamaForCausalLM"}, {"architectures": [None]}, {"max_position_embeddings": 2**70},
])
def test_absurd_settings_are_refused(changes: dict, folder: Path, tmp_path: Path):
    edit(folder / "config.json", **changes)
    with pytest.raises(GgufxError) as caught:
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")
    assert caught.value.code in ("input", "unsupported")
    assert not (tmp_path / "a.gguf").exists()


def test_a_tensor_without_elements(folder: Path, tmp_path: Path):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:0]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(GgufxError, match=r"model\.norm\.weight"):
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf")


@pytest.mark.parametrize("name", ["../../escape", "..", "/etc/passwd", "a\x00b", "x" * 5000])
def test_adapters_with_hostile_names(name: str, zoo, tmp_path: Path):
    import torch

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file({f"base_model.model.{name}.lora_A.weight": torch.zeros(2, 64),
               f"base_model.model.{name}.lora_B.weight": torch.zeros(64, 2)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2}))
    with pytest.raises(GgufxError) as caught:
        ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    assert caught.value.code == "input"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter"]


def test_the_output_name_stays_in_the_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without --outfile the name comes from the model's card and config: a stranger's words."""
    (folder / "README.md").write_text("---\nmodel_name: ../../../tmp/evil\n---\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = ggufx.hf_to_gguf(folder)
    assert result.files[0].path.resolve().parent == here.resolve()
