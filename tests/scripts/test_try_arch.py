"""scripts/try_arch: what differs is named so that one knows what to write in the table."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from zoo.differences import gguf_differences, grouped, setting_differences
from zoo.peers import Gguf

SCRIPT = Path(__file__).parents[2] / "scripts" / "try_arch.py"
VALUES = np.arange(1, 33, dtype=np.float32).reshape(8, 4)

if not SCRIPT.exists():
    pytest.skip("no scripts/try_arch.py: an unpacked source distribution", allow_module_level=True)


def file(tensors: dict[str, np.ndarray], **keys: tuple) -> Gguf:
    return Gguf({f"llama.{key}": value for key, value in keys.items()},
                {name: ("F32", values.shape, values.tobytes()) for name, values in tensors.items()})


@pytest.mark.parametrize(("theirs", "words"), [
    (VALUES + 1, "values differ: x: theirs is ours + 1"),
    (-np.exp(VALUES), "values differ: x: theirs is -exp(ours)"),
    (VALUES * np.float32(0.125), "values differ: x: theirs is ours * 0.125"),
    (VALUES[[0, 4, 1, 5, 2, 6, 3, 7]], "values differ: x: axis 0 in another order: theirs is ours[0, 4, 1, 5, 2, 6, 3, 7]"),
    (VALUES[:, ::-1], "values differ: x: axis 1 in another order: theirs is ours[3, 2, 1, 0]"),
    (VALUES.T, "shape differs: x: ours F32 [8, 4], theirs F32 [4, 8]; theirs is ours transposed"),
    (VALUES.reshape(8, 1, 4), "shape differs: x: ours F32 [8, 4], theirs F32 [8, 1, 4]; the same values in the same order"),
    (VALUES * VALUES[::-1] + 5, "values differ: x: 32 of 32 values, by up to "),
])
def test_what_would_make_a_tensor_right(theirs: np.ndarray, words: str):
    (line,) = grouped(gguf_differences(file({"x": VALUES}), file({"x": np.ascontiguousarray(theirs)})))
    assert line.startswith(words)


def test_missing_and_extra_names_say_where_the_bytes_are():
    ours, theirs = ({f"blk.{b}.{name}": VALUES + b for b in (0, 1)} for name in ("ffn_up", "ffn_upp"))
    assert grouped(gguf_differences(file(ours), file(theirs))) == [
        "tensor extra: blk.0.ffn_up (and 1 like it, to blk.1.ffn_up): ours F32 [8, 4] = theirs blk.0.ffn_upp",
        "tensor missing: blk.0.ffn_upp (and 1 like it, to blk.1.ffn_upp): theirs F32 [8, 4] = ours blk.0.ffn_up"]


def test_keys():
    ours = file({}, one=("UINT32", 1), two=("UINT32", 2), list=("ARRAY/INT32", [1, 2, 3]))
    theirs = file({}, one=("FLOAT32", 1.0), three=("BOOL", True), list=("ARRAY/INT32", [1, 5, 3]))
    assert grouped(gguf_differences(ours, theirs)) == [
        "key differs: llama.list: 1 of 3 items, the first at [1]: ours 2, theirs 5",
        "key differs: llama.one: ours uint32 1, theirs float32 1.0",
        "key missing: llama.three: theirs bool True",
        "key extra: llama.two: ours uint32 2"]
    assert setting_differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 2}, "d": 3}) == [
        "a.b = 1, 2 expected", "c = 2, nothing expected", "d is missing, 3 expected"]


def test_a_model_and_a_name_that_is_none():
    done = subprocess.run([sys.executable, SCRIPT, "llama-256", "--only", "own,foreign"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1:3] for line in done.stdout.splitlines()] == [["own", "yes"], ["foreign", "yes"]]
    done = subprocess.run([sys.executable, SCRIPT, "lama"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no model lama" in done.stderr
