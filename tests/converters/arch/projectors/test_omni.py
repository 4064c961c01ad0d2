"""What a pair of others comes back as: what transformers' classes read."""

import json
from pathlib import Path

import pytest
from ggufx.converters.planners.hf_to_gguf import GgufOptions
from ggufx.converters.planners.projector import ProjectorPlanner
from zoo.files import stored
from zoo.tower_trial import Trial
from zoo.towers import TOWERS


@pytest.mark.parametrize(("name", "thinker"), [
    ("qwen25omni-both", "Qwen2_5OmniThinkerForConditionalGeneration"),
    ("qwen3omni-both", "Qwen3OmniMoeThinkerForConditionalGeneration"),
])
def test_both_towers_are_where_the_class_looks_for_them(name: str, thinker: str, tmp_path: Path):
    import transformers

    def missed(folder: Path) -> dict[str, set]:
        """What transformers has no tensor for, or none of its size."""
        cls = getattr(transformers, thinker)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["thinker_config"]
        _, told = cls.from_pretrained(folder, config=cls.config_class(**settings), output_loading_info=True,
                                      ignore_mismatched_sizes=True)
        return {kind: set(told[kind]) for kind in ("missing_keys", "mismatched_keys", "unexpected_keys")}

    trial = Trial(TOWERS[name], tmp_path)
    plan = ProjectorPlanner(trial.folder, tmp_path / "x.gguf", GgufOptions()).plan("f16")
    assert any("no projector whose eye" in note for note in plan.notes) == (name == "qwen3omni-both")
    ok, _, why = trial.foreign()
    assert ok, why
    found = missed(tmp_path / "foreign")
    found["missing_keys"] -= {"model.audio_tower.audio_bos_eos_token.weight"}  # which no GGUF file holds
    assert found == missed(trial.folder) | {"mismatched_keys": set(), "unexpected_keys": set()}


def test_an_ear_in_its_packages_form_comes_back_in_that_of_transformers(tmp_path: Path):
    """Both are published; a pair of others does not tell which it was."""
    ok, _, why = Trial(TOWERS["qwen3asr-hub-ear"], tmp_path).foreign()
    assert ok, why
    config = json.loads((tmp_path / "foreign" / "config.json").read_text(encoding="utf-8"))
    assert {"audio_config", "text_config"} <= config.keys()
    assert "thinker_config" not in config
    assert {name.split(".")[1] for name in stored(tmp_path / "foreign") if name != "lm_head.weight"} == {
        "audio_tower", "language_model", "multi_modal_projector"}
