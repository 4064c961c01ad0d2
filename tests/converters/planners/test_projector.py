"""Checkpoints that see or hear -> mmproj files: where they go, and what is refused."""

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from zoo.changed import change_folder, change_gguf
from zoo.files import stored
from zoo.towers import TOWERS, build_tower

import ggufx


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build_tower(TOWERS["qwen3vl-eye"], tmp_path_factory.mktemp("eye") / "model")


@pytest.fixture(scope="module")
def pair(folder, tmp_path_factory) -> tuple[Path, Path]:
    """Files of no maker."""
    work = tmp_path_factory.mktemp("pair")
    made = ggufx.hf_to_gguf(folder, work / "text.gguf", mmproj=True, plain=True)
    return work / "text.gguf", made.files[-1].path


def test_text_models_of_several_types_and_one_projector_beside(folder, tmp_path):
    plan = ggufx.hf_to_gguf(folder, tmp_path / "m-{outtype}.gguf", outtype="q8_0,f16", mmproj=True, model_name="Eye",
                            dry_run=True)
    assert [o.path.relative_to(tmp_path).name for o in plan.outputs] == ["m-q8_0.gguf", "m-f16.gguf", "mmproj-Eye-F16.gguf"]
    assert not any("left out" in str(note) for note in plan.notes)


def test_text_alone_says_how_to_get_the_projector(folder, tmp_path):
    notes = [str(note) for note in ggufx.hf_to_gguf(folder, tmp_path / "m.gguf", dry_run=True).notes]
    assert any(note.startswith("model.visual.*: ") for note in notes)
    assert any("--mmproj" in note for note in notes)


def test_a_class_without_a_projector(tmp_path, zoo):
    with pytest.raises(GgufxError, match="vision and audio parts of 'LlamaForCausalLM' are not supported"):
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "m.gguf", mmproj=True)
    with pytest.raises(GgufxError, match="a projector has one type"):
        ggufx.hf_to_gguf(zoo("llama"), tmp_path / "m.gguf", mmproj=True, mmproj_type="f16,f32")


@pytest.mark.parametrize(("settings", "said"), [
    (None, "model: has no preprocessor_config.json, which says how pictures"),
    ({}, "preprocessor_config.json has no image_mean"),
    ([1], "wrong type at the top"),
    ({"image_mean": "grey", "image_std": [1, 1, 1]}, "preprocessor_config.json: image_mean cannot be used"),
    ({"image_mean": [0, 0], "image_std": [1, 1, 1]}, "three numbers are expected"),
    ({"image_mean": [[0], 0, 0], "image_std": [1, 1, 1]}, "image_mean cannot be used"),
])
def test_processor_files(folder, tmp_path, settings, said):
    source = change_folder(folder, tmp_path / "model")
    (source / "preprocessor_config.json").unlink() if settings is None else \
        (source / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(GgufxError) as error:
        ggufx.hf_to_gguf(source, tmp_path / "m.gguf", mmproj_only=True)
    assert said in str(error.value)
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize(("change", "said"), [
    (lambda c: c.pop("vision_config"), "config.json has no vision_config"),
    (lambda c: c.update(vision_config=[1]), "config.json has no vision_config"),
    (lambda c: c["vision_config"].update(depth=10**9), "no number of blocks"),
    (lambda c: c["vision_config"].update(depth=3), "beyond the model's block count"),
    (lambda c: c["vision_config"].update(deepstack_visual_indexes=[2, 1]), "are not blocks in their order"),
    (lambda c: c["vision_config"].update(hidden_act="relu"), "vision_config.hidden_act has no GGUF form"),
])
def test_settings(folder, tmp_path, change, said):
    source = change_folder(folder, tmp_path / "model", None, change)
    with pytest.raises(GgufxError) as error:
        ggufx.hf_to_gguf(source, tmp_path / "m.gguf", mmproj_only=True)
    assert said in str(error.value)


def test_tensors(folder, tmp_path):
    def change(tensors):
        tensors["model.visual.odd.weight"] = tensors.pop("model.visual.merger.norm.weight")

    with pytest.raises(GgufxError) as error:
        ggufx.hf_to_gguf(change_folder(folder, tmp_path / "model", change), tmp_path / "m.gguf", mmproj_only=True)
    assert "no rule of this architecture takes the tensor" in str(error.value)
    assert "expected the source of v.post_ln.weight" in str(error.value)


def test_files_that_do_not_belong_together(pair, tmp_path):
    text, projector = pair
    for key, value, said in (("clip.vision.projection_dim", 128, "features of 128 values"),
                             ("clip.projector_type", "gemma3", "no class has a projector of type gemma3 beside a qwen3vl")):
        bad = change_gguf(projector, tmp_path / "mm.gguf", None,
                          lambda keys, key=key, value=value: keys.update({key: type(keys[key])(keys[key].type, value)}))
        with pytest.raises(GgufxError) as error:
            ggufx.gguf_to_hf(text, tmp_path / "out", mmproj=bad)
        assert said in str(error.value)
    with pytest.raises(GgufxError, match="no class of these two files"):
        ggufx.gguf_to_hf(text, tmp_path / "out", mmproj=projector, hf_class="Gemma3ForConditionalGeneration")
    assert not (tmp_path / "out").exists()


def test_lora_of_a_tower_is_refused_by_name(folder, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    name = "base_model.model.model.visual.blocks.0.attn.proj"
    save_file({f"{name}.lora_A.weight": np.ones((4, 64), np.float32), f"{name}.lora_B.weight": np.ones((64, 4), np.float32)},
              adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["proj"]}))
    with pytest.raises(GgufxError) as error:
        ggufx.lora_to_gguf(adapter, base=folder, outfile=tmp_path / "a.gguf")
    assert "visual.blocks.0.attn.proj" in str(error.value)
    assert "the runtime applies no update there" in str(error.value)


def test_an_own_text_model_and_a_projector_of_others(folder, pair, tmp_path):
    """config.json and the text's names are those that its file keeps; the processor file is what the other one tells."""
    ggufx.hf_to_gguf(folder, tmp_path / "own.gguf")
    plan = ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back", mmproj=pair[1], dry_run=True)
    assert any("one of the two files is not ggufx's" in str(note) for note in plan.notes)
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back", mmproj=pair[1])
    made, source = stored(tmp_path / "back"), stored(folder)
    assert {n: v for n, v in source.items() if "visual" not in n} == {n: v for n, v in made.items() if "visual" not in n}
    assert {n.removeprefix("model.") for n in source} == {n.removeprefix("model.") for n in made}
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == json.loads((folder / "config.json").read_text())
    told = json.loads((tmp_path / "back" / "preprocessor_config.json").read_text())
    assert told == {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 16, "merge_size": 2}
