"""verify: settings by key, adapters, and what the report holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, UsageError
from ggufx.converters.io.values import string, u32
from zoo.changed import change_folder, change_gguf, dropped, swapped_rows
from zoo.verdicts import differing, found, verdicts

import ggufx

Zoo = Callable[[str], Path]


def test_key_values_of_the_runtime_count_and_names_do_not(zoo: Zoo, converted, tmp_path: Path):
    def renamed(keys: dict) -> None:
        keys["general.name"] = string("Another")

    def longer(keys: dict) -> None:
        keys["llama.context_length"] = u32(7)
        keys["ggufx.anything"] = string("x")
        del keys["llama.rope.freq_base"]  # 500000, and the runtime takes 10000

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
    with pytest.raises(UsageError, match="names no base model"):
        ggufx.verify(adapter, tmp_path / "a.gguf")
    with pytest.raises(UsageError, match="is an adapter"):
        ggufx.verify(tmp_path / "a.gguf", converted("llama"))
    with pytest.raises(GgufxError, match="Give the folder that it lies in"):
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
