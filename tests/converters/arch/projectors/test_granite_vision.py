"""Which features of Granite 4 Vision go where: the order of its projectors."""

import json
from pathlib import Path

import pytest
from ggufx.converters.arch.projectors.granite_vision import Injection, injections
from ggufx.converters.errors import UnsupportedError
from zoo.towers import TOWERS, build_tower

import ggufx

SIZES = {"text_config": {"num_hidden_layers": 40}, "vision_config": {"num_hidden_layers": 27}}
PUBLISHED = [[-19, 9], [-13, 6], [-7, 3], [-1, 0]]


def test_projectors_stand_in_the_order_of_the_blocks_of_text():
    found = injections(SIZES | {"deepstack_layer_map": PUBLISHED})
    assert [one.text for one in found] == [0, 3, 6, 9, 12, 15, 18, 21]
    assert [one.block for one in found] == [26, 20, 14, 8, 26, 26, 26, 26]
    assert [one.offset for one in found] == [-1, -1, -1, -1, 0, 1, 2, 3]


def test_the_first_hidden_state_is_what_the_first_block_gets():
    assert injections(SIZES | {"deepstack_layer_map": [[27, 0]], "use_spatial_sampling": False}) == [Injection(0, 26, -1)]


@pytest.mark.parametrize("pairs", [[[-1, 0], [-7, 3]], [[-7, 3], [-1, 3]], [[-7, 3], [-1, 4]], []])
def test_what_the_files_cannot_say_is_refused(pairs: list):
    with pytest.raises(UnsupportedError):
        injections(SIZES | {"deepstack_layer_map": pairs})


def test_blocks_that_the_model_has_not_are_refused():
    with pytest.raises(ValueError, match="not all blocks"):
        injections(SIZES | {"deepstack_layer_map": [[0, 0]]})


@pytest.mark.parametrize("settings", [{"layer_types": ["attention", "mamba"] * 3}, {"num_local_experts": 4}])
def test_a_language_model_in_which_the_runtime_adds_no_features_is_refused(settings: dict, tmp_path: Path):
    folder = build_tower(TOWERS["granite4-fused-eye"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"] |= settings
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UnsupportedError, match="between blocks of a Granite that only attends"):
        ggufx.hf_to_gguf(folder, tmp_path / "model.gguf")
