"""The laws of numbers that HF holds as tensors and GGUF as keys: of every table, one per block and one per model."""

from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.errors import InputError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.planners.keyed_tensors import from_keys, to_keys
from ggufx.converters.planners.own_keys import KEPT
from ggufx.converters.rules.match import HfMatches
from ggufx.converters.rules.spec import ArchSpec, Keyed
from ggufx.converters.rules.template import Template

RULES = sorted({Keyed("x.gains", Template("layers.{b}.gain"), (1,)), Keyed("x.gain", Template("gain")),
                *(rule for spec in SPECS for rule in spec.keyed)}, key=str)
HP = {"block_count": 3}


def table(rule: Keyed) -> ArchSpec:
    return ArchSpec("x", ("X",), "x", hparams=(), tensors=(), keyed=(rule,))


def keys_of(rule: Keyed, tensors: dict[str, StoredTensor], problems: list) -> dict:
    return to_keys(table(rule), HP, tensors, HfMatches([], [*tensors], {}, {}, {}), "x", problems)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_the_key_gives_the_tensors_back(rule: Keyed, tmp_path: Path):
    names = [rule.hf.format({"b": b}) for b in range(3)] if rule.hf.holes else [str(rule.hf)]
    values = np.array([1.5, -0.1, 3e-8][: len(names)], np.float32)
    (tmp_path / "values").write_bytes(values.tobytes())
    tensors = {name: StoredTensor(name, "F32", rule.shape, tmp_path / "values", 4 * i, 4) for i, name in enumerate(names)}
    made = keys_of(rule, tensors, [])
    keys = {key: value.data for key, value in made.items()}
    assert np.array_equal(np.ravel(keys[rule.key]).astype(np.float32), values)
    assert isinstance(keys[rule.key], float) != bool(rule.hf.holes)

    bytes_of, kept = from_keys(table(rule), HP, keys, "F32", tmp_path / "x.gguf")
    assert [kept[name]["shape"] for name in names] == [list(rule.shape)] * len(names)
    stored = [np.array(bytes_of[KEPT + name].data, np.uint8) for name in names]
    assert np.concatenate(stored).tobytes() == values.tobytes()

    problems: list = []
    assert keys_of(rule, dict([*tensors.items()][1:]), problems) == {}
    assert names[0] in str(problems[0])
    with pytest.raises(InputError, match=r"must be a number"):
        from_keys(table(rule), HP, {}, "F32", tmp_path / "x.gguf")
