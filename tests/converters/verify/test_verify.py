"""verify: what was converted is the same, what was damaged is not, and the figures are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.verify.tensors import Verdict
from ggufx.converters.verify.verify import VerifyOptions, verify
from ggufx.quant import dequantize, quantize
from zoo.changed import as_type, change_gguf, dropped, rows, swapped_rows, with_rows
from zoo.verdicts import differing, found, verdicts

import ggufx

Zoo = Callable[[str], Path]


# norm + 1, permuted rows, transposes, latent attention, stacked and packed experts, state space
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "deepseek2", "qwen3moe", "gptoss-mxfp4", "qwen35"])
@pytest.mark.parametrize("outtype", ["auto", "f32", "f16", "q8_0"])
def test_what_was_converted_is_the_same_in_either_order(name: str, outtype: str, zoo: Zoo, converted):
    a, b = zoo(name), converted(name, outtype)
    there, back = ggufx.verify(a, b), ggufx.verify(b, a)
    assert there.same
    assert back.same
    assert there.pairs
    assert verdicts(there) == verdicts(back)
    assert "different" not in verdicts(there)
    quantized = verdicts(there).get("close", 0)
    assert (quantized > 0) == (outtype == "q8_0")


@pytest.mark.parametrize("dtype", ["auto", "f16", "f32"])
@pytest.mark.parametrize("name", ["gemma3", "qwen35", "deepseek2", "gptoss-mxfp4"])
def test_a_folder_made_of_a_file_is_the_same_though_its_types_are_narrower(name: str, dtype: str, converted, tmp_path: Path):
    """A norm of weight + 1 that was rounded as weight: only the checkpoint's side of the operation can tell."""
    ggufx.gguf_to_hf(converted(name, "f32"), tmp_path / "back", dtype=dtype)
    report = ggufx.verify(converted(name, "f32"), tmp_path / "back")
    assert differing(report) == []
    assert set(verdicts(report)) <= {"identical", "equal"}


def test_a_folder_made_of_a_quantized_file_is_close(converted, tmp_path: Path):
    ggufx.gguf_to_hf(converted("llama", "q8_0"), tmp_path / "back")
    report = ggufx.verify(converted("llama", "q8_0"), tmp_path / "back")
    assert report.same
    assert verdicts(report)["close"] == 16


def reversed_rows(held: dict) -> None:
    held["blk.0.attn_q.weight"] = with_rows(held["blk.0.attn_q.weight"], rows(held["blk.0.attn_q.weight"])[::-1])


def swapped_tensors(held: dict) -> None:
    held["blk.0.attn_k.weight"], held["blk.1.attn_k.weight"] = held["blk.1.attn_k.weight"], held["blk.0.attn_k.weight"]


def one_bit_of_a_norm(held: dict) -> None:
    changed = held["blk.1.attn_norm.weight"][2].copy()
    changed[2] ^= 1  # the lowest that bfloat16 has
    held["blk.1.attn_norm.weight"] = (*held["blk.1.attn_norm.weight"][:2], changed)


def infinite_scale(held: dict) -> None:
    blocks = rows(held["blk.0.ffn_gate.weight"])
    if held["blk.0.ffn_gate.weight"][0] == "Q8_0":
        blocks[3, :2] = (0x00, 0x7C)
    else:
        blocks[3, :2] = (0x80, 0x7F)
    held["blk.0.ffn_gate.weight"] = with_rows(held["blk.0.ffn_gate.weight"], blocks)


DAMAGE = {
    reversed_rows: {"blk.0.attn_q.weight"}, swapped_tensors: {"blk.0.attn_k.weight", "blk.1.attn_k.weight"},
    swapped_rows: {"token_embd.weight"}, dropped: {"blk.1.ffn_up.weight"},
    one_bit_of_a_norm: {"blk.1.attn_norm.weight"}, infinite_scale: {"blk.0.ffn_gate.weight"},
}


@pytest.mark.parametrize("outtype", ["auto", "q8_0"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_every_damage_is_found_and_nothing_else(damage, outtype: str, zoo: Zoo, converted, tmp_path: Path):
    bad = change_gguf(converted("llama", outtype), tmp_path / "bad.gguf", damage)
    for a, b in ((zoo("llama"), bad), (bad, zoo("llama")), (converted("llama"), bad)):
        report = ggufx.verify(a, b)
        assert not report.same
        assert set(differing(report)) == DAMAGE[damage]


def test_a_wider_file_may_round_to_its_narrow_source_unless_it_was_made_of_it(zoo: Zoo, converted, tmp_path: Path):
    def lowest_bit(held: dict) -> None:
        kind, shape, raw = held["output_norm.weight"]
        held["output_norm.weight"] = (kind, shape, np.concatenate([raw[:1] ^ 1, raw[1:]]))

    wider = change_gguf(converted("llama"), tmp_path / "wider.gguf", lowest_bit)
    report = ggufx.verify(zoo("llama"), wider)
    assert report.same
    assert found(report, "output_norm.weight").detail == "rounded to BF16"
    made = verify(zoo("llama"), wider, VerifyOptions(made=True))
    assert differing(made) == ["output_norm.weight"]
    assert verify(zoo("llama"), converted("llama", "f16"), VerifyOptions(made=True)).same


def test_queries_that_were_not_permuted_are_different(zoo: Zoo, converted, tmp_path: Path):
    """The fault that costs converters most: rows of rotary heads left in the checkpoint's order."""
    from safetensors.torch import load_file

    query = load_file(zoo("llama") / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"].float().numpy()

    def unpermuted(held: dict) -> None:
        held["blk.0.attn_q.weight"] = ("Q4_0", query.shape, quantize(query, "Q4_0").reshape(-1))

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "bad.gguf", unpermuted))
    assert differing(report) == ["blk.0.attn_q.weight"]
    assert found(report, "blk.0.attn_q.weight").figures.relative > 1


def test_a_single_wrong_row_is_found_though_the_whole_is_within_the_bound(zoo: Zoo, converted, tmp_path: Path):
    def shifted(held: dict) -> None:
        tensor = as_type(held["token_embd.weight"], "Q4_0")
        table = rows(tensor)
        table[7] = table[8]
        held["token_embd.weight"] = with_rows(tensor, table)

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "bad.gguf", shifted))
    pair = found(report, "token_embd.weight")
    assert pair.figures.relative < pair.bound
    assert pair.verdict is Verdict.DIFFERENT
    assert pair.detail.startswith("row 7:")


def test_figures_are_those_of_plain_numpy(zoo: Zoo, converted):
    from safetensors.torch import load_file

    report = ggufx.verify(zoo("llama"), converted("llama", "q8_0"))
    pair = found(report, "blk.1.ffn_down.weight")
    x = load_file(zoo("llama") / "model.safetensors")["model.layers.1.mlp.down_proj.weight"].float().numpy()
    y = dequantize(quantize(x, "Q8_0"), "Q8_0")
    error = (y - x).astype(np.float64)
    rmse, rms = np.sqrt((error**2).mean()), np.sqrt((x.astype(np.float64) ** 2).mean())
    assert pair.figures.elements == x.size
    assert pair.figures.rmse == pytest.approx(rmse, rel=1e-5)
    assert pair.figures.relative == pytest.approx(rmse / rms, rel=1e-5)
    assert pair.figures.snr_db == pytest.approx(20 * np.log10(rms / rmse), abs=1e-4)
    assert pair.figures.max_abs == np.abs(error).max()
    assert pair.figures.differing == np.count_nonzero(error)


def test_the_size_of_the_tiles_changes_no_verdict_and_no_figure(zoo: Zoo, converted):
    for name, outtype in (("llama", "q8_0"), ("gemma3", "f16"), ("deepseek2", "q8_0"), ("gpt2", "f16")):
        whole = ggufx.verify(zoo(name), converted(name, outtype), threads=1)
        cut = ggufx.verify(zoo(name), converted(name, outtype), threads=3, max_memory=1 << 15)
        for one, two in zip(whole.pairs, cut.pairs, strict=True):
            assert (one.name, one.verdict, one.detail) == (two.name, two.verdict, two.detail)
            assert one.figures.elements == two.figures.elements
            assert one.figures.max_abs == two.figures.max_abs
            assert one.figures.relative == pytest.approx(two.figures.relative, rel=1e-6)


def test_a_wrong_row_is_counted_alike_in_tiles(zoo: Zoo, converted, tmp_path: Path):
    bad = change_gguf(converted("llama", "q8_0"), tmp_path / "bad.gguf", swapped_rows)
    for memory in (1 << 14, 1 << 30):
        report = ggufx.verify(converted("llama"), bad, max_rmse=0.3, max_memory=memory)
        assert found(report, "token_embd.weight").detail.startswith(("row 5:", "row 9:"))


def test_two_types_of_quantization_are_compared_with_each_other(converted):
    report = ggufx.verify(converted("llama", "q8_0"), converted("llama", "q4_0"))
    assert report.same
    pair = found(report, "blk.0.ffn_up.weight")
    assert (pair.a.kind, pair.b.kind) == ("Q8_0", "Q4_0")
    assert pair.bound == pytest.approx(0.2)


def test_max_rmse_stands_in_for_every_bound(zoo: Zoo, converted, tmp_path: Path):
    good = converted("llama", "q8_0")
    assert ggufx.verify(zoo("llama"), good, max_rmse=0.01).same
    strict = ggufx.verify(zoo("llama"), good, max_rmse=0.001)
    assert verdicts(strict) == {"equal": 5, "different": 16}
    bad = change_gguf(good, tmp_path / "bad.gguf", reversed_rows)
    assert ggufx.verify(zoo("llama"), bad, max_rmse=3).same
