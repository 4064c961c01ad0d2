"""What a matrix is said to hold, by hand; and matrices added up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.calibrate.statistics import by_layer, merged, statistics, unreached
from ggufx.converters.errors import InputError
from ggufx.converters.io.imatrix_file import Entry, ImatrixFile, read_imatrix_file, write_imatrix
from zoo.matrices import GOLDEN, MERGED, SHOWN


def entry(sums: list[list[float]], counts: list[int]) -> Entry:
    return Entry(np.array(sums, np.float64), np.array(counts))


FIRST = ImatrixFile({
    "blk.0.ffn_up.weight": entry([[8, 0, 8, 16]], [8]), "blk.1.ffn_up.weight": entry([[8, 0, 8, 16]], [4]),
    "blk.1.ffn_up_exps.weight": entry([[2, 2], [0, 0]], [2, 0]),
}, ("a.txt",), 2, 4)


def test_statistics_of_a_weight():
    found = {s.name: s for s in statistics(FIRST)}
    one = found["blk.0.ffn_up.weight"]  # means 1, 0, 1, 2
    assert (one.total, one.minimum, one.maximum, one.mean, one.active, one.columns, one.block) == (4, 0, 2, 1, 0.75, 4, 0)
    assert one.deviation == pytest.approx(np.sqrt(0.5))
    assert one.entropy == pytest.approx(1.5)
    assert one.entropy_share == pytest.approx(0.75)
    assert one.outliers == 0.25
    assert one.likeness == 0
    assert found["blk.1.ffn_up.weight"].likeness == pytest.approx(1)
    experts = found["blk.1.ffn_up_exps.weight"]
    assert (experts.columns, experts.matrices, experts.reached) == (2, 2, 1)
    assert [s.name for s in statistics(FIRST)] == ["blk.1.ffn_up.weight", "blk.0.ffn_up.weight", "blk.1.ffn_up_exps.weight"]
    assert unreached(FIRST) == (("blk.1.ffn_up_exps.weight", (1,)),)
    layers = by_layer(statistics(FIRST))
    assert [row.block for row in layers] == [0, 1]
    assert layers[1].total == pytest.approx((8 * 4 + 2 * 2) / 6)


@pytest.mark.parametrize("name", SHOWN)
def test_statistics_are_those_of_llama_imatrix(name: str, recorded):
    """To the digits that it prints; it adds up in float32."""
    found = statistics(read_imatrix_file(recorded(name)))
    layers = by_layer(found)
    rows = [line.replace("%", "").split() for line in (GOLDEN / f"{name}.txt").read_text().splitlines()]
    theirs, theirs_by_layer = ([row for row in rows if len(row) == n and row[0].isdigit()] for n in (13, 4))
    ours = [(s.block, s.name.split(".")[2], s.total, s.minimum, s.maximum, s.mean, s.deviation, 100 * s.active, s.columns,
             s.entropy, 100 * s.entropy_share, 100 * s.outliers, s.likeness) for s in found]
    assert len(ours) == len(theirs)
    assert {row[:2] for row in ours} == {(int(row[0]), row[1]) for row in theirs}
    by_name = {(int(row[0]), row[1]): row[2:] for row in theirs}
    for row in ours:
        assert_printed(row[2:], by_name[row[:2]])
    assert len(layers) == len(theirs_by_layer)
    for layer, row in zip(layers, theirs_by_layer, strict=True):
        assert layer.block == int(row[0])
        assert_printed((layer.total, 100 * layer.outliers, layer.likeness), row[1:])


def assert_printed(ours: Sequence[float], theirs: Sequence[str]) -> None:
    for value, printed in zip(ours, theirs, strict=True):
        half = 0.5 * 10 ** -len(printed.partition(".")[2])
        assert abs(value - float(printed)) <= half + 1e-5 * abs(value), (ours, theirs)


def test_a_merged_file_is_that_of_llama_imatrix(recorded, tmp_path: Path):
    """Byte for byte: a sum of two numbers is rounded once by both."""
    matrices = [(name, read_imatrix_file(recorded(name))) for name in MERGED]
    write_imatrix(tmp_path / "m.gguf", merged(matrices))
    assert (tmp_path / "m.gguf").read_bytes() == recorded("merged").read_bytes()


def test_matrices_add_up(tmp_path: Path):
    other = ImatrixFile({
        "blk.0.ffn_up.weight": entry([[1, 2, 3, 4]], [4]), "blk.1.ffn_up_exps.weight": entry([[0, 0], [1, 3]], [0, 8]),
    }, ("b.txt", "c.txt"), 1, 4)
    made = merged([("a", FIRST), ("b", other)])
    np.testing.assert_array_equal(made.entries["blk.0.ffn_up.weight"].sums, [[9, 2, 11, 20]])
    np.testing.assert_array_equal(made.entries["blk.1.ffn_up_exps.weight"].sums, [[2, 2], [1, 3]])
    np.testing.assert_array_equal(made.entries["blk.1.ffn_up_exps.weight"].counts, [2, 8])
    assert (made.datasets, made.chunk_count, made.chunk_size) == (("a.txt", "b.txt", "c.txt"), 3, 4)
    write_imatrix(tmp_path / "m.gguf", made)
    again = read_imatrix_file(tmp_path / "m.gguf")
    assert again.entries.keys() == made.entries.keys()
    np.testing.assert_array_equal(again.entries["blk.1.ffn_up_exps.weight"].counts, [2, 8])
    assert (again.datasets, again.chunk_count) == (made.datasets, 3)


def test_matrices_of_different_models_do_not(tmp_path: Path):
    wrong = ImatrixFile({"blk.0.ffn_up.weight": entry([[1, 2, 3]], [4])}, (), 1, 4)
    with pytest.raises(InputError, match="of different models"):
        merged([("a", FIRST), ("b", wrong)])


def test_what_is_no_matrix(zoo, tmp_path: Path):
    (tmp_path / "old.dat").write_bytes(b"\1\0\0\0" * 8)
    with pytest.raises(InputError, match="is no GGUF file"):
        read_imatrix_file(tmp_path / "old.dat")
    import ggufx

    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "model.gguf")
    with pytest.raises(InputError, match="is no importance matrix"):
        read_imatrix_file(tmp_path / "model.gguf")
