"""MiMo-V2.5: rows of fused queries, keys and values that stand GPU by GPU."""

import json
import shutil

import numpy as np
import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.ops import Unpack
from ggufx.converters.ops.unpack import Grid
from zoo import peers
from zoo.files import MISSING, changed_copy, load_folder

import ggufx

LAYOUT = "attention_projection_layout"


def gguf(folder, made):
    ggufx.hf_to_gguf(folder, made, plain=True)
    return peers.read_peer_gguf(made).tensors


def by_kind(name, rows, config):
    """The rows of a fused projection as queries, keys and values: a loop over what each GPU has."""
    local = config["hybrid_layer_pattern"][int(name.split(".")[2])]
    heads = config["swa_num_key_value_heads" if local else "num_key_value_heads"]
    kinds = {"q": config["num_attention_heads"] * config["head_dim"], "k": heads * config["head_dim"],
             "v": heads * config["v_head_dim"]}
    found, at = {kind: [] for kind in kinds}, 0
    for _ in range(config["num_key_value_heads"]):
        for kind, count in kinds.items():
            share = count // config["num_key_value_heads"]
            found[kind].append(rows[at : at + share])
            at += share
    assert at == len(rows)
    return found


def test_rows_are_those_of_a_checkpoint_that_has_them_apart(zoo, tmp_path):
    config = json.loads((zoo("mimo25") / "config.json").read_text())

    def apart(tensors):
        import torch

        out = {}
        for name, value in tensors.items():
            if not name.endswith("qkv_proj.weight"):
                out[name] = value
                continue
            for kind, parts in by_kind(name, value, config).items():
                out[name.replace("qkv_proj", f"{kind}_proj")] = torch.cat(parts)
        return out

    other = changed_copy(zoo("mimo25"), tmp_path / "apart", apart, **{LAYOUT: "split"})
    together, each = gguf(zoo("mimo25"), tmp_path / "one.gguf"), gguf(other, tmp_path / "two.gguf")
    for b in range(4):
        raw = b"".join(each.pop(f"blk.{b}.attn_{part}.weight")[2] for part in "qkv")
        assert together.pop(f"blk.{b}.attn_qkv.weight")[2] == raw
    assert together == each
    for source in (other, zoo("mimo25")):  # the way back is of the form that there was
        ggufx.hf_to_gguf(source, tmp_path / "own.gguf", force=True)
        shutil.rmtree(tmp_path / "back", ignore_errors=True)
        ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back")
        assert load_folder(tmp_path / "back").keys() == load_folder(source).keys()


@pytest.mark.parametrize("said", [MISSING, None, "split", "grouped"])
def test_an_order_that_nothing_tells_is_refused(zoo, tmp_path, said):
    folder = changed_copy(zoo("mimo25"), tmp_path / "source", **{LAYOUT: said})
    with pytest.raises(InputError, match="does not say in which order the rows") as caught:
        ggufx.hf_to_gguf(folder, tmp_path / "model.gguf")
    assert str(caught.value).count("\n") <= 1
    assert "fused_qkv" in str(caught.value)
    assert not (tmp_path / "model.gguf").exists()


def test_blocks_of_each_gpu_tell_the_order(zoo, tmp_path):
    silent = changed_copy(zoo("mimo25-fp8"), tmp_path / "silent", **{LAYOUT: MISSING})
    assert gguf(silent, tmp_path / "one.gguf") == gguf(zoo("mimo25-fp8"), tmp_path / "two.gguf")
    ggufx.hf_to_gguf(silent, tmp_path / "own.gguf")
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back")
    assert LAYOUT not in json.loads((tmp_path / "back" / "config.json").read_text())
    assert load_folder(tmp_path / "back").keys() == {n for n in load_folder(silent) if "scale_inv" not in n}


@pytest.mark.parametrize("cut", [(0, 20), (3, 9), (7, 8), (9, 20), (10, 11)])
def test_blocks_that_begin_anew_in_any_run_of_rows(cut):
    """Twenty rows of two GPUs in blocks of four rows: three blocks of each GPU."""
    whole = Unpack((20, 4), (("codes", Grid("F8_E4M3")), ("scales", Grid())), (4, 4), anew=10)
    codes = np.arange(80, dtype=np.uint8).reshape(20, 4)
    scales = np.arange(1, 7, dtype=np.float32).reshape(6, 1)
    (all_rows,) = whole.forward([codes, scales])
    plain = Unpack((20, 4), whole.parts, (20, 4))
    expected = plain.forward([codes, np.ones((1, 1), np.float32)])[0]
    for row in range(20):
        expected[row] *= scales[row // 10 * 3 + row % 10 // 4, 0]
    assert np.array_equal(all_rows, expected)
    start, stop = cut
    op = whole.rows(start, stop)
    windows = op.windows([codes.shape, scales.shape])
    (made,) = op.forward([x[w.start : w.stop] for x, w in zip((codes, scales), windows, strict=True)])
    assert np.array_equal(made, expected[start:stop])
