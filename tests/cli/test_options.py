"""Each option of each command arrives under its own name, and records of options are filled by name."""

import dataclasses
import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from ggufx.cli import conversion
from ggufx.cli import imatrix as imatrix_command
from ggufx.cli import measure as measure_command
from ggufx.cli import publish as publishing
from ggufx.cli import verify as verify_command
from ggufx.cli.main import app
from ggufx.converters.calibrate import imatrix
from ggufx.converters.io.values import string
from ggufx.converters.measure import measure
from ggufx.converters.plan import gguf_output
from ggufx.converters.planners import (
    adapter_to_hf,
    adapter_updates,
    copied_tensors,
    edit,
    gguf_to_hf,
    hf_to_gguf,
    lora_to_gguf,
    many_outputs,
    merge_lora,
    merged_weights,
    original_to_hf,
    pair_to_hf,
    projector,
    quantization,
    quantize,
)
from ggufx.converters.publish import contents
from ggufx.converters.report import measure_page, report_html
from ggufx.converters.sources import hub
from ggufx.converters.verify import references, verify
from typer.testing import CliRunner
from zoo.files import write_file

import ggufx

TALK = {"--json": ("", "json_mode", True), "--quiet": ("", "quiet", True), "--verbose": ("", "verbose", True)}
RUN = {
    "--force": ("", "force", True),
    "--threads": ("3", "threads", 3),
    "--max-memory": ("2MiB", "max_memory", 2 << 20),
}
CONVERT = {
    **TALK, **RUN,
    "--dry-run": ("", "dry_run", True),
    "--resume": ("", "resume", True),
    "--checksums": ("sums", "checksums", Path("sums")),
    "--verify": ("", "made", True),
}
PUBLISH = {
    "--push": ("me/repo", "push", "me/repo"),
    "--private": ("", "private", True),
    "--create-pr": ("", "create_pr", True),
    "--card": ("card.md", "card", Path("card.md")),
    "--base-model": ("org/base", "base_model", ("org/base",)),
}
COPY = {flag: row for flag, row in CONVERT.items() if flag != "--verify"}
DEVICE = {"--device": ("cuda:7", "device", "cuda:7"), "--engine": ("ray", "engine", "ray")}
OUTPUT = {"--outfile": ("out.gguf", "outfile", "out.gguf"), "--outtype": ("f16", "outtype", "f16")}
METADATA = {
    "--model-name": ("Some Name", "model_name", "Some Name"),
    "--metadata": ("m.json", "metadata_file", Path("m.json")),
}
QUANTIZE = {
    "--imatrix": ("im.gguf", "imatrix_file", Path("im.gguf")),
    "--include-weights": ("in", "include_weights", ("in",)),
    "--exclude-weights": ("ex", "exclude_weights", ("ex",)),
    "--tensor-type": ("a=q8_0", "tensor_types", ("a=q8_0",)),
    "--tensor-type-file": ("tt", "tensor_type_file", Path("tt")),
    "--output-tensor-type": ("q6_k", "output_tensor_type", "q6_k"),
    "--token-embedding-type": ("q4_0", "token_embedding_type", "q4_0"),
    "--leave-output-tensor": ("", "leave_output_tensor", True),
    "--pure": ("", "pure", True),
    "--no-fallback": ("", "allow_fallback", False),
    "--override-kv": ("k=int:1", "override_kv", ("k=int:1",)),
    "--split-max-size": ("48G", "max_bytes", 48 * 10**9),
    "--split-max-tensors": ("7", "max_tensors", 7),
}
BASE = {"--base": ("base", "base", Path("base"))}
TEMPLATE = {"--chat-template": ("t.jinja", "chat_template", Path("t.jinja"))}
PRE = {"--pre": ("qwen2", "pre", "qwen2")}
REPORT = {"--report": ("report.html", "report", Path("report.html"))}
MODELFILE = {"--modelfile": ("", "modelfile", True)}
LORA = {"--lora": ("adapter@2", "adapters", (adapter_updates.Adapter(Path("adapter"), 2.0),))}
AS = {"--as": ("LlamaForCausalLM", "hf_class", "LlamaForCausalLM")}
STATED = {"--llama-version": ("3.1", "llama_version", "3.1"), "--context-length": ("4096", "context_length", 4096)}
TARGET = {"--target": ("larger", "target", Path("larger"))}
# Each command: what it is about, and each option with its text, the field where it belongs, and its value there.
CALLS: dict[str, tuple[list[str], dict[str, tuple[str, str, Any]]]] = {
    "hf-to-gguf": (["in"], {
        **CONVERT, **PUBLISH, **DEVICE, **OUTPUT, **METADATA, **QUANTIZE, **PRE, **AS, **LORA, **STATED, **TARGET, **TEMPLATE,
        **MODELFILE, **REPORT,
        "--plain": ("", "plain", True),
        "--calibrate": ("text.txt", "calibrate", [Path("text.txt")]),
        "--keep-quantized": ("", "keep_quantized", True),
        "--mmproj": ("", "mmproj", True),
        "--mmproj-only": ("", "mmproj_only", True),
        "--mmproj-type": ("f32", "mmproj_type", "f32"),
        "--outtype": ("f16", "outtype", ["f16"]),
    }),
    "gguf-to-hf": (["in", "out"], {
        **CONVERT, **PUBLISH, **DEVICE,
        "--dtype": ("f16", "dtype", "f16"),
        "--max-shard-size": ("1MB", "max_shard_bytes", 10**6),
        **PRE, **AS, "--mmproj": ("mm.gguf", "mmproj", Path("mm.gguf")),
        "--no-tokenizer": ("", "tokenizer", False),
        **BASE,
    }),
    "lora-to-gguf": (["in"], {
        **CONVERT, **PUBLISH, **OUTPUT, **METADATA, **BASE, **AS,
        "--plain": ("", "plain", True),
        "--task": ("t", "task", "t"),
        "--modelfile": ("m.gguf", "modelfile", Path("m.gguf")),
    }),
    "merge-lora": (["in", "--outfile", "merged"], {
        **CONVERT, **PUBLISH, **DEVICE, **AS, **REPORT,
        "--base": ("base", "a", Path("base")),
        "--outfile": ("out", "outfile", "out"),
        "--outtype": ("q8_0", "outtype", "q8_0"),
        "--imatrix": ("im.gguf", "imatrix", Path("im.gguf")),
    }),
    "original-to-hf": (["in", "out"], {
        **CONVERT, **PUBLISH, **DEVICE, **STATED, "--max-shard-size": ("1MB", "max_shard_bytes", 10**6)}),
    "quantize": (["in", "out.gguf", "q4_0"], {
        **CONVERT, **PUBLISH, **DEVICE, **QUANTIZE, **MODELFILE, **REPORT,
        "--allow-requantize": ("", "allow_requantize", True),
    }),
    "split": (["in", "out"], {
        **COPY, **PUBLISH,
        "--max-size": ("48G", "max_bytes", 48 * 10**9),
        "--max-tensors": ("7", "max_tensors", 7),
        "--no-tensor-first-split": ("", "first_empty", True),
    }),
    "join": (["in", "out.gguf"], COPY),
    "edit": (["in", "out.gguf"], {
        **COPY, **TEMPLATE,
        "--set": ("a=1", "set", ("a=1",)),
        "--set-file": ("a=b", "set_file", ("a=b",)),
        "--unset": ("a", "unset", ("a",)),
        "--token": ("eos=a", "tokens", ("eos=a",)),
        "--tokenizer-from": ("folder", "tokenizer_from", Path("folder")),
    }),
    "push": (["in", "me/repo"], {
        **TALK, **{flag: row for flag, row in PUBLISH.items() if flag != "--push"},
        "--force": ("", "force", True),
        "--dry-run": ("", "dry_run", True),
        "--relation": ("merge", "relation", "merge"),
        "--message": ("Words", "message", "Words"),
        "--base-model": ("org/base", "bases", ["org/base"]),
    }),
    "imatrix": (["in"], {
        **TALK, **RUN, **AS, "--device": DEVICE["--device"],
        "--data": ("other.txt", "data", [Path("other.txt")]),
        "--outfile": ("out", "outfile", Path("out")),
        "--ctx": ("128", "context", 128),
        "--chunks": ("7", "chunks", 7),
        "--skip": ("2", "skip", 2),
        "--parse-special": ("", "special", True),
        "--resume": ("", "resume", True),
    }),
    "measure": (["in", "out"], {
        **TALK,
        "--data": ("other.txt", "data", [Path("other.txt")]),
        "--ctx": ("128", "context", 128),
        "--chunks": ("7", "chunks", 7),
        "--threads": ("3", "threads", 3),
        "--force": ("", "force", True),
        "--html": ("page", "html", Path("page")),
    }),
    "verify": (["a", "b"], {
        **TALK, **RUN, **BASE, **PRE, **AS, **LORA, **STATED, **TARGET,
        "--max-rmse": ("0.5", "max_rmse", 0.5),
        "--tokenizer": ("", "tokenizer", True),
        "--strict": ("", "strict", True),
        "--ignore": ("some.key", "ignore", ("some.key",)),
        "--html": ("page", "html", Path("page")),
        "--worst": ("4", "worst", 4),
        "--no-checksums": ("", "checksums", False),
        "--mmproj": ("mm.gguf", "projector", Path("mm.gguf")),
    }),
}
OTHER = {"imatrix": {"--show", "--merge"}}  # options that make a command another one
# Those that only print: a call with all of their options.
PRINT = {
    "inspect": ["{gguf}", "--context", "512", "--get", "general.name", "--json", "--quiet"],
    "modelfile": ["{gguf}", "--adapter", "{lora}", "--mmproj", "{seen}", "--outfile", "{gguf}.Modelfile", "--force", "--json",
                  "--quiet"],
    "card": ["{gguf}", "--base-model", "org/base", "--relation", "finetune", "--repo", "me/repo", "--outfile", "{gguf}.md",
             "--force", "--json", "--quiet"],
    "types": ["{gguf}", "--target", "{gguf}", "--json", "--quiet"],
    "archs": ["--json", "--quiet"],
    "warmup": ["f32", "--device", "cpu", "--json", "--quiet"],
}


ALONE = {"--task"}  # refused beside --verify
MACHINES = {"plan", "run", "commit", "batch"}  # tests/cli/test_shards.py, test_batch.py


def commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands


def test_every_command_is_here():
    assert set(commands()) == set(CALLS) | set(PRINT) | MACHINES


@pytest.mark.parametrize("name", CALLS)
def test_each_option_arrives_under_its_own_name(name: str, monkeypatch: pytest.MonkeyPatch):
    arguments, options = CALLS[name]
    known = {text for p in commands()[name].params for text in (*p.opts, *p.secondary_opts) if text.startswith("--")}
    left_out = {"--help", "--checksums" if name == "verify" else "", *OTHER.get(name, ())}
    assert known - left_out == set(options), "each option needs a row above"
    together = {flag: row for flag, row in options.items() if flag not in ALONE}
    every = [text for flag, (value, *_) in together.items() for text in (flag, value) if text]
    got = called(monkeypatch, name, [*arguments, *every])
    for flag, (_, field, value) in together.items():
        assert got[field] == value, flag


@pytest.mark.parametrize("name", CALLS)
def test_an_option_changes_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch):
    """Alone, so that two flags that are mixed up show."""
    arguments, options = CALLS[name]
    usual_call = [*arguments, *(["--base", "base"] if name in ("lora-to-gguf", "merge-lora") else [])]
    usual = called(monkeypatch, name, usual_call)
    for flag in options.keys() - {"--base", "--verify"}:  # the latter hands on what verify takes as well
        value, field, _ = options[flag]
        got = called(monkeypatch, name, [*usual_call, flag, *([value] if value else [])])
        changed = {k for k in got if got[k] != usual.get(k)}
        follows = {"then", *(("made_of", "relation") if flag == "--lora" else ())}
        assert changed - follows == {field}, flag  # the next command, or the model card, may need the option as well


@pytest.mark.parametrize("name", PRINT)
def test_a_command_that_prints_takes_all_its_options(name: str, zoo, tmp_path: Path):
    known = {text for p in commands()[name].params for text in p.opts if text.startswith("--")}
    assert known - {"--help"} == {text for text in PRINT[name] if text.startswith("--")}, "each option needs its place above"
    path = tmp_path / "a.gguf"
    if "{gguf}" in PRINT[name]:
        ggufx.hf_to_gguf(zoo("llama"), path)
    lora = write_file(tmp_path / "l.gguf", {"general.architecture": string("llama"), "general.type": string("adapter")}, {})
    seen = write_file(tmp_path / "p.gguf", {"general.architecture": string("clip"), "general.type": string("mmproj")}, {})
    done = CliRunner().invoke(app, [name, *(text.format(gguf=path, lora=lora, seen=seen) for text in PRINT[name])])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document.get("summary", {"memory": {"context": 512}})["memory"]["context"] == 512


def called(monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]) -> dict[str, Any]:
    """What a command hands to the converters, by the names of their parameters and fields."""
    got: dict[str, Any] = {}

    def record(function, *args, **kwargs):
        for key, value in inspect.signature(function).bind(*args, **kwargs).arguments.items():
            if isinstance(value, dict):
                got.update(value)
            elif dataclasses.is_dataclass(value):
                record_fields(value)
            else:
                got[key] = value

    def record_fields(options):
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if dataclasses.is_dataclass(value):
                record_fields(value)
            else:  # verify, afterwards, has options of the same names
                got.setdefault(field.name, value)

    def spied(module, attribute, result):
        real = getattr(module, attribute)

        def spy(*args, **kwargs):
            record(real, *args, **kwargs)
            return result

        monkeypatch.setattr(module, attribute, spy)

    changes = [{"key": "a", "was": 1, "will_be": None}]
    plan = SimpleNamespace(outputs=[SimpleNamespace(path=Path("out"))], results=[Path("out")], facts={"changes": changes})
    plan.noting = lambda _: plan
    merged = SimpleNamespace(folder=Path("out"))
    report = SimpleNamespace(same=True, to_json=dict)
    with monkeypatch.context() as monkeypatch:
        for module, attribute, result in ((projector, "plan_checkpoint", (plan, ())), (quantize, "QuantizePlanner", None),
                                          (many_outputs, "plan_outputs", (plan, ())), (pair_to_hf, "plan_model_to_hf", plan),
                                          (original_to_hf, "plan_original_to_hf", plan),
                                          (adapter_to_hf, "plan_adapter_to_hf", plan),
                                          (lora_to_gguf, "plan_lora_to_gguf", plan), (verify, "verify", report),
                                          (merge_lora, "plan_merge", (merged, ())),
                                          (copied_tensors, "plan_split", plan), (copied_tensors, "plan_join", plan),
                                          (edit, "plan_edit", plan)):
            spied(module, attribute, result)
        spied(imatrix, "make_imatrix", None)
        spied(measure, "measure", [])
        monkeypatch.setattr(measure_command, "_tell", lambda out, *_: talk(out))
        monkeypatch.setattr(imatrix, "with_matrix", lambda folder, outfile, options, calibrate, *_: got.update(
            calibrate=calibrate) or (options, SimpleNamespace(path="im", entries=1, chunks=2, seconds=3.0)))
        monkeypatch.setattr(imatrix_command, "_tell", lambda out, *_: talk(out))
        monkeypatch.setattr(verify, "base_named", lambda a, b: None)
        monkeypatch.setattr(adapter_to_hf, "is_adapter", lambda path: False)
        monkeypatch.setattr(references, "resolve_both", lambda a, b, **_: (Path(a), Path(b)))
        for module in (hub, merged_weights):
            monkeypatch.setattr(module, "resolve_model", lambda ref, **_: Path(ref))
        for module in (verify_command, measure_command):
            monkeypatch.setattr(module, "check_writable", lambda path, force: got.update(html=path, force=force))
            monkeypatch.setattr(module, "write_text", lambda path, _: None)
        monkeypatch.setattr(measure_page, "page", lambda _: "")
        monkeypatch.setattr(report_html, "page", lambda _: "")
        monkeypatch.setattr(verify_command, "show", lambda out, _, worst=10: (talk(out), got.update(worst=worst)))

        def talk(out):
            got.update(json_mode=out.json_mode, quiet=out.quiet, verbose=out.verbose)

        def carry_out(out, *args, after=None, **kwargs):
            record(conversion_of, out, *args, **kwargs)
            talk(out)
            for compare in (after or {}).values():
                made = {field: got.pop(field) for field in ("checksums", "mmproj") if field in got}  # a comparison has its own
                compare(None)
                got.update(made)

        def publish(out, *args, **kwargs):
            record(publish_of, out, *args, **kwargs)
            talk(out)
            return {}

        publish_of = publishing.publish
        monkeypatch.setattr(publishing, "publish", publish)
        monkeypatch.setattr(contents, "collect", lambda paths: None)
        conversion_of = conversion.carry_out
        monkeypatch.setattr(conversion, "carry_out", carry_out)
        done = CliRunner().invoke(app, [name, *arguments])
        assert done.exit_code == 0, (done.output, done.exception)
    return {k: v for k, v in got.items() if k not in ("out", "plan", "planner", "refused", "progress")}


@pytest.mark.parametrize("kind", [
    quantization.Quantization, hf_to_gguf.GgufOptions, gguf_to_hf.HfOptions, lora_to_gguf.LoraOptions,
    quantize.QuantizeOptions, verify.VerifyOptions, gguf_output.SplitLimits, edit.EditOptions, original_to_hf.OriginalOptions,
])
def test_records_of_options_are_filled_by_name(kind: type):
    """One value may stand first; a second one by position would end up in another field when one is added before it."""
    with pytest.raises(TypeError):
        kind("f16", None)
