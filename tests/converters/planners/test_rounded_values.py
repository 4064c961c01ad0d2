"""Values of a tower that F16 does not hold."""

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import ValueType, array
from ggufx.converters.planners.own_keys import kept_bytes
from zoo.changed import change_folder, change_gguf
from zoo.files import stored
from zoo.towers import TOWERS, build_tower

import ggufx

QKV = "visual.blocks.0.attn.qkv.weight"
SMALL = {(0, 1): 2**-19 * (1 + 3 / 128), (5, 7): -1.7e-7, (100, 3): 1e-30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("small")

    def smaller(tensors):
        for place, value in SMALL.items():
            tensors[QKV][place] = value

    return change_folder(build_tower(TOWERS["qwen25vl-eye"], work / "model"), work / "small", smaller)


@pytest.fixture(scope="module")
def pair(folder, tmp_path_factory):
    """The text model and its projector, of type F16."""
    work = tmp_path_factory.mktemp("pair")
    made = ggufx.hf_to_gguf(folder, work / "text.gguf", mmproj=True)
    return work / "text.gguf", next(f.path for f in made.files if f.path.name.startswith("mmproj-"))


def test_a_projector_of_f16_gives_back_every_bit(folder, pair, tmp_path):
    text, projector = pair
    assert len(kept_bytes(read_gguf(projector).metadata["ggufx.rounded." + QKV])) == 8 * len(SMALL)
    ggufx.gguf_to_hf(text, tmp_path / "back", mmproj=projector)
    assert stored(tmp_path / "back") == stored(folder)


def test_a_projector_without_own_keys_keeps_none(folder, tmp_path):
    ggufx.hf_to_gguf(folder, tmp_path / "mm.gguf", mmproj_only=True, plain=True)
    assert not [key for key in ggufx.inspect(tmp_path / "mm.gguf").keys if key.startswith("ggufx.")]


def test_what_f16_rounds_of_f32_is_named(folder, tmp_path):
    def wide(tensors):
        tensors.update({name: t.float() + 1e-9 for name, t in tensors.items() if name.startswith("visual.")})

    source = change_folder(folder, tmp_path / "wide", wide)
    many = ggufx.hf_to_gguf(source, tmp_path / "mm.gguf", mmproj_only=True)
    assert many.notes == ()  # a tiny model's are kept


@pytest.mark.parametrize("data", [np.full(8, 255, np.uint8), np.zeros(7, np.uint8), np.zeros(0, np.uint8)],
                         ids=["outside", "cut", "empty"])
def test_damaged_places(pair, tmp_path, data):
    text, projector = pair
    bad = change_gguf(projector, tmp_path / "mm.gguf", None,
                      lambda keys: keys.update({"ggufx.rounded." + QKV: array(ValueType.UINT8, data)}))
    with pytest.raises(GgufxError, match="does not fit the tensor"):
        ggufx.gguf_to_hf(text, tmp_path / "back", mmproj=bad)
    assert not (tmp_path / "back").exists()
