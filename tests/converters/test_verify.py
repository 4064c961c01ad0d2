"""verify: what was converted is the same, what was damaged is not, and the figures are right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.compare import Verdict
from ggufx.converters.errors import UsageError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import i32, string, u16, u32
from ggufx.converters.verify import Report, VerifyOptions, verify
from ggufx.quant import dequantize, quantize
from zoo.changed import as_type, change_folder, change_gguf, rows, with_rows

import ggufx

Zoo = Callable[[str], Path]


@pytest.fixture(scope="module")
def converted(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`converted(model, outtype)`: the GGUF file of a model of the zoo, without ggufx.* key-values."""
    root = tmp_path_factory.mktemp("gguf")

    def path(name: str, outtype: str = "auto") -> Path:
        out = root / f"{name}-{outtype}.gguf"
        if not out.exists():
            ggufx.hf_to_gguf(zoo(name), out, outtype=outtype, plain=True)
        return out

    return path


def verdicts(report: Report) -> dict[str, int]:
    return {str(verdict): count for verdict, count in report.verdicts.items()}


def found(report: Report, name: str):
    return next(p for p in report.pairs if p.name == name)


def differing(report: Report) -> list[str]:
    return [p.name for p in report.pairs if not p.verdict.same]


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


def swapped_rows(held: dict) -> None:
    table = rows(held["token_embd.weight"])
    table[[5, 9]] = table[[9, 5]]
    held["token_embd.weight"] = with_rows(held["token_embd.weight"], table)


def dropped(held: dict) -> None:
    del held["blk.1.ffn_up.weight"]


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


# --------------------------------------------------------------------------------------------------- other layouts


def test_an_unsplit_kv_b_of_older_files_is_compared_under_the_checkpoints_name(zoo: Zoo, converted, tmp_path: Path):
    import torch
    from safetensors.torch import load_file

    original = load_file(zoo("deepseek2") / "model.safetensors")

    def unsplit(held: dict, flip: int = 0) -> None:
        for block in range(2):
            for part in "kv":
                del held[f"blk.{block}.attn_{part}_b.weight"]
            weight = original[f"model.layers.{block}.self_attn.kv_b_proj.weight"]
            raw = weight.view(torch.uint8).numpy().reshape(-1).copy()
            raw[0] ^= flip
            held[f"blk.{block}.attn_kv_b.weight"] = ("BF16", tuple(weight.shape), raw)

    old = change_gguf(converted("deepseek2"), tmp_path / "old.gguf", unsplit)
    for a, b in ((zoo("deepseek2"), old), (old, zoo("deepseek2"))):
        report = ggufx.verify(a, b)
        assert report.same
        assert found(report, "model.layers.1.self_attn.kv_b_proj.weight").verdict is Verdict.IDENTICAL
        assert not [p.name for p in report.pairs if "attn_k_b" in p.name or "attn_kv_b" in p.name]
    bad = change_gguf(converted("deepseek2"), tmp_path / "bad.gguf", lambda held: unsplit(held, flip=1))
    assert differing(ggufx.verify(zoo("deepseek2"), bad)) == [
        "model.layers.0.self_attn.kv_b_proj.weight", "model.layers.1.self_attn.kv_b_proj.weight"]


def test_gates_and_ups_of_experts_in_one_tensor_are_compared_under_the_checkpoints_name(zoo: Zoo, converted, tmp_path: Path):
    def joined(held: dict) -> None:
        for block in range(2):
            parts = [held.pop(f"blk.{block}.ffn_{part}_exps.weight") for part in ("gate", "up")]
            experts, width, cols = parts[0][1]
            raw = np.concatenate([raw.reshape(experts, width, -1) for _, _, raw in parts], 1)
            held[f"blk.{block}.ffn_gate_up_exps.weight"] = (parts[0][0], (experts, 2 * width, cols), raw)

    other = change_gguf(converted("qwen3moe-fused"), tmp_path / "other.gguf", joined)
    report = ggufx.verify(zoo("qwen3moe-fused"), other)
    assert report.same
    assert found(report, "model.layers.1.mlp.experts.gate_up_proj").verdict is Verdict.IDENTICAL


def test_what_the_other_layout_does_not_hold_stays_missing(zoo: Zoo, converted, tmp_path: Path):
    def more(held: dict) -> None:
        held["blk.1.attn_q.bias"] = ("F32", (64,), np.zeros(256, np.uint8))

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "more.gguf", more))
    assert differing(report) == ["blk.1.attn_q.bias"]
    assert found(report, "blk.1.attn_q.bias").verdict is Verdict.ONLY_B


def test_a_split_file_is_one_model(zoo: Zoo, converted, tmp_path: Path):
    names = list(read_gguf(converted("llama")).tensors)

    def part(number: int) -> Path:
        def keys(metadata: dict) -> None:
            metadata |= {"split.no": u16(number), "split.count": u16(2), "split.tensors.count": i32(len(names))}

        def tensors(held: dict) -> None:
            for name in names[10:] if number == 0 else names[:10]:
                del held[name]

        return change_gguf(converted("llama"), tmp_path / f"m-0000{number + 1}-of-00002.gguf", tensors, keys)

    first, second = part(0), part(1)
    report = ggufx.verify(zoo("llama"), first)
    assert report.same
    assert len(report.pairs) == len(names)
    assert [file.path for file in report.b.files] == [first, second]
    assert ggufx.verify(first, converted("llama"), strict=True).same


def test_experts_apart_and_stacked_are_compared_in_two_folders(zoo: Zoo, tmp_path: Path):
    import torch

    def stacked(held: dict) -> None:
        for layer in range(2):
            stem = f"model.layers.{layer}.mlp.experts"
            count = sum(n.startswith(f"{stem}.") and n.endswith(".up_proj.weight") for n in held)
            each = [[held.pop(f"{stem}.{e}.{p}_proj.weight") for p in ("gate", "up", "down")] for e in range(count)]
            held[f"{stem}.gate_up_proj"] = torch.stack([torch.cat(x[:2]) for x in each])
            held[f"{stem}.down_proj"] = torch.stack([x[2] for x in each])

    def wrong(held: dict) -> None:
        stacked(held)
        held["model.layers.1.mlp.experts.down_proj"][[0, 1]] = held["model.layers.1.mlp.experts.down_proj"][[1, 0]]

    same = change_folder(zoo("qwen3moe"), tmp_path / "same", stacked)
    report = ggufx.verify(zoo("qwen3moe"), same, max_memory=1 << 16)
    assert report.same
    assert verdicts(report) == {"identical": len(report.pairs)}
    other = change_folder(zoo("qwen3moe"), tmp_path / "other", wrong)
    assert differing(ggufx.verify(other, zoo("qwen3moe"))) == ["blk.1.ffn_down_exps.weight"]


def test_the_text_part_is_compared_with_the_whole_model(zoo: Zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("gemma3-vl"), tmp_path / "text.gguf")
    ggufx.gguf_to_hf(tmp_path / "text.gguf", tmp_path / "text")
    report = ggufx.verify(zoo("gemma3-vl"), tmp_path / "text")
    assert report.same
    assert verdicts(report) == {"identical": len(report.pairs)}
    assert any("compared as both would be in GGUF" in note for note in report.notes)


def test_a_head_that_is_the_embedding_is_the_same_as_none(zoo: Zoo, converted, tmp_path: Path):
    def with_head(held: dict, changed: bool = False) -> None:
        held["output.weight"] = held["token_embd.weight"]
        if changed:
            swapped_rows(held)

    same = change_gguf(converted("llama-tied"), tmp_path / "same.gguf", with_head)
    report = ggufx.verify(zoo("llama-tied"), same)
    assert report.same
    assert found(report, "output.weight").detail
    other = change_gguf(converted("llama-tied"), tmp_path / "other.gguf", lambda held: with_head(held, changed=True))
    assert differing(ggufx.verify(other, converted("llama-tied"))) == ["token_embd.weight"]


def test_a_computed_value_may_differ_in_the_last_bits_only(zoo: Zoo, converted, tmp_path: Path):
    def plus(bits: int) -> Callable[[dict], None]:
        def change(held: dict) -> None:
            kind, shape, raw = held["blk.0.attn_norm.weight"]
            raw = raw.copy()
            raw.view(np.uint32)[0] += bits
            held["blk.0.attn_norm.weight"] = (kind, shape, raw)
        return change

    near = change_gguf(converted("gemma3"), tmp_path / "near.gguf", plus(1))
    far = change_gguf(converted("gemma3"), tmp_path / "far.gguf", plus(1 << 16))
    report = ggufx.verify(zoo("gemma3"), near)
    assert report.same
    assert found(report, "blk.0.attn_norm.weight").verdict is not Verdict.IDENTICAL
    assert differing(ggufx.verify(zoo("gemma3"), far)) == ["blk.0.attn_norm.weight"]
    assert differing(ggufx.verify(converted("gemma3"), near)) == ["blk.0.attn_norm.weight"]  # nothing is computed here


def test_an_overflow_to_infinity_is_no_rounding(zoo: Zoo, converted, tmp_path: Path):
    import torch

    def huge(held: dict) -> None:
        held["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.tensor(1e6)

    def infinite(held: dict) -> None:
        table = rows(held["blk.0.ffn_up.weight"])
        table[0, :2] = (0x00, 0x7C)
        held["blk.0.ffn_up.weight"] = with_rows(held["blk.0.ffn_up.weight"], table)

    source = change_folder(zoo("llama"), tmp_path / "hf", huge)
    bad = change_gguf(converted("llama", "f16"), tmp_path / "bad.gguf", infinite)
    report = ggufx.verify(source, bad)
    assert differing(report) == ["blk.0.ffn_up.weight"]
    assert "numbers on one side only" in found(report, "blk.0.ffn_up.weight").detail


# --------------------------------------------------------------------------------------------------------- settings


def test_key_values_of_the_runtime_count_and_names_do_not(zoo: Zoo, converted, tmp_path: Path):
    def renamed(keys: dict) -> None:
        keys["general.name"] = string("Another")

    def longer(keys: dict) -> None:
        keys["llama.context_length"] = u32(7)
        keys["ggufx.anything"] = string("x")
        del keys["llama.rope.freq_base"]

    named = change_gguf(converted("llama"), tmp_path / "named.gguf", keys=renamed)
    assert ggufx.verify(zoo("llama"), named).same
    strict = ggufx.verify(zoo("llama"), named, strict=True)
    assert [d.key for d in strict.differences if d.counts] == ["general.name"]
    other = change_gguf(converted("llama"), tmp_path / "other.gguf", keys=longer)
    report = ggufx.verify(zoo("llama"), other)
    assert not report.same
    assert {(d.key, d.b) for d in report.differences if d.counts} == {
        ("llama.context_length", "7"), ("llama.rope.freq_base", None)}
    assert any("ggufx.*" in note for note in report.notes)
    assert ggufx.verify(zoo("llama"), other, ignore=("llama.context_length", "*.freq_base")).same


def test_a_key_that_says_what_the_runtime_takes_without_it_is_no_difference(zoo: Zoo, converted, tmp_path: Path):
    def shorter(keys: dict) -> None:
        assert keys.pop("llama.attention.head_count_kv").data == 2
        assert keys.pop("llama.rope.dimension_count").data == 16

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "short.gguf", keys=shorter))
    counted = {d.key: d.counts for d in report.differences}
    assert counted == {"llama.attention.head_count_kv": True, "llama.rope.dimension_count": False}


def test_a_changed_token_is_found_and_named(zoo: Zoo, converted, tmp_path: Path):
    def changed(keys: dict) -> None:
        value = keys["tokenizer.ggml.tokens"]
        tokens = list(value.data)
        tokens[17] = "other"
        keys["tokenizer.ggml.tokens"] = type(value)(value.type, tokens, value.item_type)

    report = ggufx.verify(zoo("llama"), change_gguf(converted("llama"), tmp_path / "other.gguf", keys=changed))
    (difference,) = [d for d in report.differences if d.counts]
    assert difference.key == "tokenizer.ggml.tokens"
    assert difference.b.endswith("[17] = 'other'")


def test_config_is_compared_in_its_canonical_form(zoo: Zoo, tmp_path: Path):
    def older(config: dict) -> None:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
        config["torch_dtype"] = config.pop("dtype")
        config["_name_or_path"] = "elsewhere"

    def louder(config: dict) -> None:
        config["hidden_act"] = "gelu"

    old = change_folder(zoo("llama"), tmp_path / "old", config=older)
    assert ggufx.verify(zoo("llama"), old).same
    assert not ggufx.verify(zoo("llama"), old, strict=True).same
    other = ggufx.verify(zoo("llama"), change_folder(zoo("llama"), tmp_path / "other", config=louder))
    assert [(d.where, d.key, d.a, d.b) for d in other.differences if d.counts] == [
        ("config.json", "hidden_act", '"silu"', '"gelu"')]


def test_classes_without_a_table_are_compared_by_name(zoo: Zoo, tmp_path: Path):
    def unknown(config: dict) -> None:
        config["architectures"] = ["NobodysModel"]

    def changed(held: dict) -> None:
        held["lm_head.weight"][3, 4] += 1
        held["extra"] = held["model.norm.weight"].clone()

    a = change_folder(zoo("llama"), tmp_path / "a", config=unknown)
    b = change_folder(a, tmp_path / "b", tensors=changed)
    assert ggufx.verify(a, change_folder(a, tmp_path / "c")).same
    report = ggufx.verify(a, b)
    assert differing(report) == ["lm_head.weight", "extra"] or set(differing(report)) == {"lm_head.weight", "extra"}
    assert found(report, "lm_head.weight").figures.differing == 1


def test_tokenizers_in_other_words_are_judged_by_their_ids(zoo: Zoo, tmp_path: Path):
    def reworded(folder: Path, change: Callable[[dict], None]) -> Path:
        path = change_folder(zoo("llama"), folder) / "tokenizer.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        return folder

    same = ggufx.verify(zoo("llama"), reworded(tmp_path / "same", lambda d: d.update(
        normalizer={"type": "Sequence", "normalizers": []})))
    assert same.same
    assert same.probes.texts > 50
    other = ggufx.verify(zoo("llama"), reworded(tmp_path / "other", lambda d: d.update(normalizer={"type": "Lowercase"})))
    assert not other.same
    assert other.probes.different
    assert ggufx.verify(zoo("llama"), zoo("llama")).probes is None


# --------------------------------------------------------------------------------------------------------- adapters


def write_adapter(folder: Path, base: dict[str, tuple[int, int]], rank: int = 8) -> Path:
    """A PEFT adapter on the modules of `base`, whose sizes are (out, in)."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    held = {}
    for module, (out, inner) in base.items():
        held[f"base_model.model.{module}.lora_A.weight"] = torch.randn(rank, inner, generator=generator)
        held[f"base_model.model.{module}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    save_file(held, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "use_rslora": True, "task_type": "CAUSAL_LM",
              "target_modules": ["q_proj", "up_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_adapters(zoo: Zoo, tmp_path: Path):
    sizes = {"model.layers.0.self_attn.q_proj": (64, 64), "model.layers.1.mlp.up_proj": (96, 64)}
    adapter = write_adapter(tmp_path / "adapter", sizes)
    for outtype, expected in (("f32", "identical"), ("f16", "equal"), ("q8_0", "close")):
        out = tmp_path / f"{outtype}.gguf"
        ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=out, outtype=outtype)
        report = ggufx.verify(adapter, out, base=zoo("llama"))
        assert report.same
        assert expected in verdicts(report)
        assert ggufx.verify(out, tmp_path / "f32.gguf").same

    def unscaled(held: dict) -> None:  # as if rsLoRA's scale had been forgotten
        kind, shape, raw = held["blk.0.attn_q.weight.lora_b"]
        held["blk.0.attn_q.weight.lora_b"] = (kind, shape, (raw.view(np.float32) / np.float32(8**0.5)).view(np.uint8))

    bad = change_gguf(tmp_path / "f32.gguf", tmp_path / "bad.gguf", unscaled)
    assert differing(ggufx.verify(adapter, bad, base=zoo("llama"))) == ["blk.0.attn_q.weight.lora_b"]
    assert ggufx.verify(adapter, adapter).same
    other = write_adapter(tmp_path / "other", sizes)
    settings = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(
        settings | {"lora_alpha": 8, "target_modules": ["up_proj", "q_proj"]}))
    report = ggufx.verify(adapter, other)
    assert [d.key for d in report.differences if d.counts] == ["lora_alpha"]


def test_what_cannot_be_compared_is_said(zoo: Zoo, converted, tmp_path: Path):
    adapter = write_adapter(tmp_path / "adapter", {"model.layers.0.self_attn.q_proj": (64, 64)})
    ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    with pytest.raises(UsageError, match="needs its base model"):
        ggufx.verify(adapter, tmp_path / "a.gguf")
    with pytest.raises(UsageError, match="is an adapter"):
        ggufx.verify(tmp_path / "a.gguf", converted("llama"))
    with pytest.raises(UsageError, match="folder of a checkpoint"):
        ggufx.verify(zoo("llama") / "model.safetensors", converted("llama"))


# ----------------------------------------------------------------------------------------------------------- report


def test_checksums_are_those_of_the_files(zoo: Zoo, converted):
    report = ggufx.verify(zoo("llama"), converted("llama"))
    for side, path in ((report.a, zoo("llama") / "model.safetensors"), (report.b, converted("llama"))):
        (file,) = side.files
        assert file.path == path
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ggufx.verify(zoo("llama"), converted("llama"), checksums=False).a.files[0].sha256 is None


def test_the_report_as_json(zoo: Zoo, converted, tmp_path: Path):
    bad = change_gguf(converted("llama", "q8_0"), tmp_path / "bad.gguf", dropped)
    data = json.loads(json.dumps(ggufx.verify(zoo("llama"), bad).to_json(), allow_nan=False))
    assert data["same"] is False
    assert data["verdicts"] == {"equal": 5, "close": 15, "only in A": 1}
    rows_ = {t["name"]: t for t in data["tensors"]}
    assert rows_["blk.1.ffn_up.weight"]["b"] is None
    close = rows_["blk.0.ffn_up.weight"]
    assert close["b"] == {"type": "Q8_0", "shape": [96, 64], "bytes": 96 * 68, "bits_per_weight": 8.5}
    assert 40 < close["snr_db"] < 50
    assert data["b"]["types"]["Q8_0"]["tensors"] == 15


def test_the_worst_come_first(zoo: Zoo, converted, tmp_path: Path):
    bad = change_gguf(converted("llama", "q8_0"), tmp_path / "bad.gguf", swapped_rows)
    worst = ggufx.verify(zoo("llama"), bad).worst()
    assert worst[0].name == "token_embd.weight"
    errors = [p.figures.relative for p in worst[1:]]
    assert errors == sorted(errors, reverse=True)


def test_progress_is_told_and_ends_within_the_total(zoo: Zoo, converted):
    told: list[tuple[int, int, str]] = []
    ggufx.verify(zoo("llama"), converted("llama", "q8_0"), progress=lambda *now: told.append(now))
    assert told
    assert all(0 < done <= total for done, total, _ in told)
