"""What a matrix is said to hold, by hand; and matrices added up."""

from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.calibrate.statistics import by_layer, merged, statistics, unreached
from ggufx.converters.errors import InputError
from ggufx.converters.io.imatrix_file import Entry, ImatrixFile, read_imatrix_file, write_imatrix


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
