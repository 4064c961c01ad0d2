"""Draft models: what they take of their targets, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, UsageError
from ggufx.converters.rules.hf_config import canonical
from ggufx.converters.rules.hparams import write_hparams
from safetensors.numpy import load_file, save_file
from zoo.files import load_folder
from zoo.peers import read_peer_gguf

import ggufx

Zoo = Callable[[str], Path]


def test_a_draft_needs_its_target(zoo: Zoo, tmp_path: Path):
    with pytest.raises(UsageError, match=r"is a draft model \(LlamaForCausalLMEagle3\)") as caught:
        ggufx.hf_to_gguf(zoo("eagle3"), tmp_path / "draft.gguf")
    assert "Give target: a folder" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_another_model_takes_none(zoo: Zoo, tmp_path: Path):
    plan = ggufx.hf_to_gguf(zoo("qwen3"), tmp_path / "m.gguf", target=zoo("llama"), dry_run=True)
    assert any("takes nothing from a target" in note for note in plan.notes)


def test_what_came_from_the_target_is_said_and_stays_there(zoo: Zoo, tmp_path: Path):
    shutil.copytree(zoo("dspark"), tmp_path / "draft")
    shutil.copy(zoo("llama") / "tokenizer.json", tmp_path / "draft")
    plan = ggufx.hf_to_gguf(tmp_path / "draft", tmp_path / "draft.gguf", target=zoo("qwen3"), dry_run=True)
    assert "the tokenizer is that of the target, Qwen3ForCausalLM; it does not come back with the draft" in map(str, plan.notes)
    assert "the tokenizer beside the draft is not read" in map(str, plan.notes)
    ggufx.hf_to_gguf(tmp_path / "draft", tmp_path / "draft.gguf", target=zoo("qwen3"))
    plan = ggufx.gguf_to_hf(tmp_path / "draft.gguf", tmp_path / "back", dry_run=True)
    assert "the tokenizer is that of the draft's target, and not written" in map(str, plan.notes)
    ggufx.gguf_to_hf(tmp_path / "draft.gguf", tmp_path / "back")
    assert {path.name for path in (tmp_path / "back").iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_tokens_of_a_small_vocabulary_are_ids_in_the_file_whatever_its_type(zoo: Zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("eagle3"), tmp_path / "{outtype}.gguf", outtype=["f16", "q4_k_m"], target=zoo("llama-llama3"))
    for outtype in ("f16", "q4_k_m"):
        kind, shape, data = read_peer_gguf(tmp_path / f"{outtype}.gguf").tensors["d2t"]
        assert (kind, shape) == ("I64", (128,))
        assert np.array_equal(np.frombuffer(data, "<i8"), 2 * np.arange(128))
    ggufx.gguf_to_hf(tmp_path / "f16.gguf", tmp_path / "back", dtype="f32")
    assert load_folder(tmp_path / "back")["d2t"].tolist() == list(range(128))
    assert ggufx.verify(zoo("eagle3"), tmp_path / "q4_k_m.gguf", target=zoo("llama-llama3")).same


@pytest.mark.parametrize(("name", "change", "why"), [
    ("d2t", lambda x: x + 400, "names a token that the target does not have"),
    ("d2t", lambda x: np.maximum(0, 5 - np.arange(128)), "names a token of the target twice"),
    ("d2t", lambda x: x.astype(np.int32), "must be a list of whole numbers"),
    ("lm_head.weight", lambda x: x[:64].copy(), "has not a row for each token"),
    ("d2t", None, "there is no d2t to say which of the target's they are"),
])
def test_a_vocabulary_that_does_not_fit_is_refused(zoo: Zoo, tmp_path: Path, name: str, change, why: str):
    shutil.copytree(zoo("eagle3-speculator"), tmp_path / "draft")
    tensors = load_file(tmp_path / "draft" / "model.safetensors")
    if change is None:
        del tensors[name]
    else:
        tensors[name] = change(tensors[name])
    save_file(tensors, tmp_path / "draft" / "model.safetensors")
    with pytest.raises(GgufxError, match=why):
        ggufx.hf_to_gguf(tmp_path / "draft", tmp_path / "m.gguf", target=zoo("qwen3"), dry_run=True)


def keys(zoo: Zoo, **changes) -> dict:
    """The keys of an EAGLE-3 draft for a target of 36 layers."""
    config = json.loads((zoo("eagle3") / "config.json").read_text()) | changes
    spec = arch.for_config(config, "config.json")
    assert spec.name == "eagle3"
    problems: list[GgufxError] = []
    target = {"num_hidden_layers": 36, "hidden_size": 96}
    made = write_hparams(spec, canonical(config, spec, "config.json") | {"target": target}, [], problems)
    if problems:
        raise problems[0]
    return {key.removeprefix("eagle3."): value.data for key, value in made.items()}


def test_layers_and_width_of_the_target(zoo: Zoo):
    assert (list(keys(zoo)["target_layers"]), keys(zoo)["target_hidden_size"]) == ([2, 18, 33], 96)
    assert keys(zoo, architectures=["LlamaForCausalLM"])["target_hidden_size"] == 96  # as the first drafts called themselves
    nested = {"eagle_aux_hidden_state_layer_ids": [1, 17, 32]}
    assert list(keys(zoo, eagle_config=nested)["target_layers"]) == [2, 18, 33]
    with pytest.raises(UnsupportedError, match="whether they count inputs or outputs is not known"):
        keys(zoo, eagle_config={"eagle_aux_hidden_state_layer_ids": [4, 17, 32]})


def test_adapters_of_drafts_are_refused(zoo: Zoo, tmp_path: Path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(UnsupportedError, match="of which no adapter is converted"):
        ggufx.lora_to_gguf(tmp_path / "adapter", base=zoo("eagle3"))


def test_an_embedding_of_the_mask_in_a_file_of_its_own_is_refused(zoo: Zoo, tmp_path: Path):
    shutil.copytree(zoo("dflash"), tmp_path / "draft")
    (tmp_path / "draft" / "mask_embedding.pt").touch()
    with pytest.raises(UnsupportedError, match="the embedding of the mask token stands in a file of its own"):
        ggufx.hf_to_gguf(tmp_path / "draft", target=zoo("qwen3"), dry_run=True)


def test_a_target_that_is_not_known_is_named(zoo: Zoo, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"architectures": ["NobodysModel"]}')
    with pytest.raises(UnsupportedError, match="'NobodysModel' is not supported"):
        ggufx.hf_to_gguf(zoo("eagle3"), target=tmp_path, dry_run=True)
    with pytest.raises(InputError):
        ggufx.hf_to_gguf(zoo("eagle3"), target=tmp_path / "nowhere", dry_run=True)


@pytest.mark.parametrize("where", ["", "dflash_config", "dspark_config"])
def test_settings_of_dspark_that_stand_inside_of_another(zoo: Zoo, tmp_path: Path, where: str):
    """Published drafts nest them; heads that the runtime does not compute are refused wherever they are said."""
    shutil.copytree(zoo("dspark"), tmp_path / "draft")
    config = json.loads((tmp_path / "draft/config.json").read_text())
    moved = {key: config.pop(key) for key in ("mask_token_id", "markov_head_type")}
    for kind in ("vanilla", "gated"):
        told = moved | {"markov_head_type": kind}
        (tmp_path / "draft/config.json").write_text(json.dumps(config | ({where: told} if where else told)))
        if kind == "vanilla":
            ggufx.hf_to_gguf(tmp_path / "draft", tmp_path / "draft.gguf", target=zoo("qwen3"))
            assert read_peer_gguf(tmp_path / "draft.gguf").values["tokenizer.ggml.mask_token_id"] == ("UINT32", 300)
        else:
            with pytest.raises(UnsupportedError, match="markov_head_type has no GGUF form"):
                ggufx.hf_to_gguf(tmp_path / "draft", tmp_path / "other.gguf", target=zoo("qwen3"))
