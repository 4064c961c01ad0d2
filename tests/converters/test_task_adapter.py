"""Updates of tasks that a checkpoint holds beside its weights (Jina v3), each as a GGUF adapter."""

import json
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.io.gguf import read_gguf
from safetensors import safe_open
from zoo.build import build
from zoo.models import MODELS

import ggufx

TASKS = MODELS["jina-bert-v3"].config["lora_adaptations"]
L = "roberta.encoder.layers."
NAMES = {L + "0.mixer.Wqkv": "blk.0.attn_qkv", L + "0.mixer.out_proj": "blk.0.attn_output",
         L + "1.mlp.fc1": "blk.1.ffn_up", L + "1.mlp.fc2": "blk.1.ffn_down"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build("jina-bert-v3", tmp_path_factory.mktemp("jina") / "model")
    config = json.loads((folder / "config.json").read_text())
    config["task_instructions"] = {task: f"About {task}: " for task in TASKS}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("task", [TASKS[0], TASKS[-1]])
def test_the_factors_of_a_task(tmp_path: Path, model: Path, task: str):
    plan = ggufx.lora_to_gguf(model, task=task, outfile=tmp_path / "task.gguf", dry_run=True)
    assert "updates that the runtime does not apply are left out" in str(plan.notes)
    ggufx.lora_to_gguf(model, task=task, outfile=tmp_path / "task.gguf")
    made = read_gguf(tmp_path / "task.gguf")
    said = {key: value.data for key, value in made.metadata.items()}
    assert [said[f"adapter.lora.{key}"] for key in ("task_name", "prompt_prefix", "alpha")] == [task, f"About {task}: ", 1.0]
    assert not any(key.startswith("ggufx.") for key in said)
    wanted = {}
    with safe_open(model / "model.safetensors", "pt") as file:
        def factor(module: str, side: str) -> np.ndarray:
            return file.get_tensor(f"{module}.parametrizations.weight.0.lora_{side}")[TASKS.index(task)].float().numpy()

        for module, name in NAMES.items():
            wanted |= {f"{name}.weight.lora_{side.lower()}": factor(module, side) for side in "AB"}
        table = "roberta.embeddings.word_embeddings"
        wanted |= {"token_embd.weight.lora_a": factor(table, "A"), "token_embd.weight.lora_b": factor(table, "B").T}
    tensors = made.tensors
    assert len(tensors) == 18
    assert not any(name.startswith("token_types") for name in tensors)
    data = (tmp_path / "task.gguf").read_bytes()
    for name, values in wanted.items():
        found = tensors[name]
        assert found.shape == values.shape, name
        assert data[found.offset:found.offset + found.nbytes] == values.tobytes(), name


def test_what_has_no_such_task_is_named(tmp_path: Path, model: Path):
    with pytest.raises(InputError, match="no task of this model") as caught:
        ggufx.lora_to_gguf(model, task="singing", outfile=tmp_path / "x.gguf")
    assert ", ".join(TASKS) in str(caught.value)
    with pytest.raises(UnsupportedError, match="holds no updates of tasks"):
        ggufx.lora_to_gguf(build("llama-mha", tmp_path / "m"), task="separation", outfile=tmp_path / "x.gguf")
