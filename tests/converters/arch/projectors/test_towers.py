"""Every tower of the zoo: the mmproj file against llama.cpp's converter, and the pair of files back."""

import pytest
from ggufx.converters.arch.projectors import SPECS
from zoo.golden import OUTTYPES
from zoo.peers import read_peer_gguf
from zoo.tower_golden import described, golden, source_digest
from zoo.tower_trial import Trial, make_projector
from zoo.towers import TOWERS


@pytest.fixture(scope="module", params=TOWERS)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(TOWERS[request.param], tmp_path_factory.mktemp(request.param))


def test_files_are_those_of_llama_cpps_converter(trial: Trial):
    if trial.row.hopeless:
        pytest.skip(f"llama.cpp's converter {trial.row.fault}")
    made = {kind: read_peer_gguf(make_projector(trial.folder, trial.work / f"{kind}.gguf", kind, plain=True))
            for kind in OUTTYPES}
    assert {"source": source_digest(trial.folder), **described(made, trial.row.drop)} == golden()[trial.row.name]


def test_a_pair_comes_back_as_it_was(trial: Trial):
    ok, _, why = trial.own()
    assert ok, why


def test_a_pair_of_others_comes_back_with_every_bit_that_it_holds(trial: Trial):
    ok, _, why = trial.foreign()
    assert ok, why


def test_every_table_has_a_tower():
    """One per table, of one of its classes."""
    classes = {row.model.cls for row in TOWERS.values()}
    assert [spec.classes for spec in SPECS if not classes & {*spec.classes}] == []

