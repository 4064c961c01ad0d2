"""The laws of numbers that HF holds as tensors and GGUF as keys: of every table, one per block, one per model, and the whole
numbers of one block."""

from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.errors import InputError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import ValueType
from ggufx.converters.planners.keyed_tensors import from_keys, to_keys
from ggufx.converters.planners.own_keys import KEPT, kept_bytes
from ggufx.converters.rules.match import HfMatches
from ggufx.converters.rules.spec import ArchSpec, Keyed
from ggufx.converters.rules.template import Template

KEYED = {rule for spec in SPECS for rule in spec.keyed}
RULES = sorted({Keyed("x.gains", Template("layers.{b}.gain"), (1,)), Keyed("x.gain", Template("gain")),
                *(rule for rule in KEYED if not rule.within)}, key=str)
WHOLE_NUMBERS = sorted((rule for rule in KEYED if rule.within), key=str)
HP = {"block_count": 3}


def table(rule: Keyed) -> ArchSpec:
    return ArchSpec("x", ("X",), "x", hparams=(), tensors=(), keyed=(rule,))


def keys_of(rule: Keyed, tensors: dict[str, StoredTensor], problems: list) -> dict:
    keyed = {name: (rule, (rule.hf.match(name) or {}).get("b")) for name in tensors}
    return to_keys(table(rule), HP | {rule.within: 1}, tensors, HfMatches([], [], {}, {}, {}, keyed), "x", problems)


def back(rule: Keyed, keys: dict, folder: Path, kept: tuple[str, ...] = ()) -> tuple[dict, dict]:
    return from_keys(table(rule), HP | {rule.within: 1}, keys, "F32", folder / "x.gguf", "its.{}".format, kept)


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

    bytes_of, kept = back(rule, keys, tmp_path)
    assert [kept[f"its.{name}"]["shape"] for name in names] == [list(rule.shape)] * len(names)
    assert b"".join(kept_bytes(bytes_of[f"{KEPT}its.{name}"]) for name in names) == values.tobytes()
    assert back(rule, {}, tmp_path, tuple(kept)) == ({}, {})  # the file keeps them

    problems: list = []
    assert keys_of(rule, dict([*tensors.items()][1:]), problems) == {}
    assert names[0] in str(problems[0])
    with pytest.raises(InputError, match=r"must be a number"):
        back(rule, {}, tmp_path)


@pytest.mark.parametrize("rule", WHOLE_NUMBERS, ids=lambda rule: rule.key)
def test_whole_numbers_come_back_with_all_their_bits(rule: Keyed, tmp_path: Path):
    name, values = rule.hf.format({"b": 1}), np.array([2**63 - 1, 2**53 + 1, 0], "<i8")

    def made(numbers: np.ndarray, kind: str = "I64") -> tuple[dict, list]:
        (tmp_path / "values").write_bytes(numbers.tobytes())
        problems: list = []
        tensor = StoredTensor(name, kind, numbers.shape, tmp_path / "values", 0, numbers.nbytes)
        return keys_of(rule, {name: tensor}, problems), problems

    keys, problems = made(values)
    assert (keys[rule.key].item_type, keys[rule.key].data, problems) == (ValueType.UINT64, values.tolist(), [])
    bytes_of, kept = back(rule, {rule.key: values.tolist()}, tmp_path)
    assert kept == {f"its.{name}": {"dtype": "I64", "shape": [3], "rows": None}}
    assert kept_bytes(bytes_of[f"{KEPT}its.{name}"]) == values.tobytes()

    for numbers, kind, said in ((-values, "I64", "negative"), (values.astype(np.float32), "F32", "no whole numbers of 64 bits"),
                                (values.reshape(3, 1), "I64", "no whole numbers of 64 bits")):
        keys, (problem,) = made(numbers, kind)
        assert keys == {}
        assert said in str(problem)
    for numbers in ([], [2**63], [-1], [0.5]):
        with pytest.raises(InputError, match=r"must be whole numbers below 2\^63"):
            back(rule, {rule.key: numbers}, tmp_path)


@pytest.mark.parametrize("rule", WHOLE_NUMBERS, ids=lambda rule: rule.key)
def test_a_model_without_the_block_needs_no_whole_numbers(rule: Keyed, tmp_path: Path):
    assert to_keys(table(rule), HP, {}, HfMatches([], [], {}, {}, {}), "x", []) == {}
    assert from_keys(table(rule), HP, {}, "F32", tmp_path / "x.gguf", str, ()) == ({}, {})
