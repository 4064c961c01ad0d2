"""The command line as a user and a script meet it: output streams, documents, exit codes, messages."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.cli.options import byte_size
from typer.testing import CliRunner
from zoo.adapters import make_adapter
from zoo.changed import change_gguf


def ggufx(*arguments: object, **options) -> subprocess.CompletedProcess:
    """A ggufx process; no Hub is reached from here."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **options.pop("env", {})}
    return subprocess.run([sys.executable, "-m", "ggufx", *map(str, arguments)], capture_output=True, text=True,
                          env=environment, **options)


@pytest.fixture(scope="module")
def gguf(zoo, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "llama.gguf"
    assert ggufx("hf-to-gguf", zoo("llama"), "-o", path).returncode == 0
    return path


def test_there_and_back(zoo, gguf: Path, tmp_path: Path):
    done = ggufx("gguf-to-hf", gguf, tmp_path / "back")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back" / "config.json").read_bytes() == (zoo("llama") / "config.json").read_bytes()
    assert f"{tmp_path / 'back'}: " in done.stdout


def test_the_base_that_an_adapter_names_is_told(zoo, tmp_path: Path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    done = ggufx("lora-to-gguf", adapter, "-o", tmp_path / "a.gguf")
    assert done.returncode == 0, done.stderr
    assert f"the base model is {zoo('llama')}, as adapter_config.json says" in done.stderr


def test_json_is_one_document_on_stdout(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama"), "-o", tmp_path / "a.gguf", "--json")
    document = json.loads(done.stdout)
    assert document["ok"] is True
    (file,) = document["files"]
    assert file["sha256"] == hashlib.sha256((tmp_path / "a.gguf").read_bytes()).hexdigest()
    assert file["size"] == (tmp_path / "a.gguf").stat().st_size
    assert done.stderr == ""  # nothing to warn of, and the result is not told twice


def test_a_failure_is_a_document_too(tmp_path: Path):
    done = ggufx("hf-to-gguf", tmp_path, "-o", tmp_path / "a.gguf", "--json")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert json.loads(done.stdout)["ok"] is False
    assert json.loads(done.stdout)["error"]["code"] == "input"
    assert json.loads(done.stdout)["error"]["problems"][0]["file"] == str(tmp_path)
    assert json.loads(done.stdout)["exit_code"] == ExitStatus.BAD_INPUT


def test_dry_run_writes_nothing_and_tells_the_size(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama-256"), "-o", tmp_path / "a.gguf", "--outtype", "q4_k_m", "--dry-run", "--json")
    planned = json.loads(done.stdout)
    assert list(tmp_path.iterdir()) == []
    ggufx("hf-to-gguf", zoo("llama-256"), "-o", tmp_path / "a.gguf", "--outtype", "q4_k_m")
    assert (tmp_path / "a.gguf").stat().st_size == planned["bytes"]
    assert {t["type"] for t in planned["tensors"]} == {"F32", "Q4_K", "Q6_K"}


def test_quiet_prints_nothing(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama"), "-o", tmp_path / "a.gguf", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_existing_output_stays(zoo, gguf: Path, tmp_path: Path):
    target = tmp_path / "a.gguf"
    target.write_text("mine")
    done = ggufx("hf-to-gguf", zoo("llama"), "-o", target)
    assert done.returncode == ExitStatus.USAGE
    assert "--force" in done.stderr
    assert target.read_text() == "mine"
    assert ggufx("hf-to-gguf", zoo("llama"), "-o", target, "--force").returncode == 0
    assert target.read_bytes() == gguf.read_bytes()


def test_default_name_is_the_conventions(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("-BF16.gguf")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
def test_checksums_are_what_sha256sum_reads(gguf: Path, tmp_path: Path):
    assert ggufx("gguf-to-hf", gguf, tmp_path / "back", "--checksums", tmp_path / "sums").returncode == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", tmp_path / "sums"]).returncode == 0
    (tmp_path / "back" / "config.json").write_text("{}")
    assert subprocess.run(["sha256sum", "-c", "--quiet", tmp_path / "sums"], capture_output=True).returncode == 1


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["hf-to-gguf"], ExitStatus.USAGE, "MODEL"),
    (["hf-to-gguf", "{zoo}", "--outtype", "q9_k", "-o", "{tmp}/a.gguf"], ExitStatus.USAGE, "unknown file type 'q9_k'"),
    (["hf-to-gguf", "{zoo}", "--max-memory", "lots"], ExitStatus.USAGE, "not a size"),
    (["hf-to-gguf", "{tmp}/none"], ExitStatus.BAD_INPUT, "no such file or folder"),
    (["hf-to-gguf", "{other}/empty"], ExitStatus.BAD_INPUT, "config.json"),
    (["hf-to-gguf", "{tmp}"], ExitStatus.USAGE, "has one in it"),
    (["gguf-to-hf", "{zoo}/config.json", "{tmp}/out"], ExitStatus.USAGE, "Give the folder"),
    (["hf-to-gguf", "{other}", "-o", "{tmp}/a.gguf"], ExitStatus.UNSUPPORTED, "LlamaForCausalLM"),
    (["hf-to-gguf", "{zoo}", "-o", "/proc/a.gguf"], ExitStatus.IO, "/proc"),
    (["hf-to-gguf", "some/model", "-o", "{tmp}/a.gguf"], ExitStatus.NETWORK, "some/model"),
    (["inspect", "{tmp}/none"], ExitStatus.BAD_INPUT, "no such file"),
    (["lora-to-gguf", "{zoo}", "--base", "{zoo}"], ExitStatus.USAGE, "ggufx hf-to-gguf"),
    (["lora-to-gguf", "{zoo}", "--base", "{zoo}", "--outtype", "q4_k_m"], ExitStatus.USAGE, "q8_0"),
    (["gguf-to-hf", "{tmp}/none.gguf", "{tmp}/out", "--dtype", "q8_0"], ExitStatus.USAGE, "bf16"),
])
def test_exit_codes(arguments, status, words, zoo, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(zoo("llama"), other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLN"]}))
    (other / "empty").mkdir()
    places = {"zoo": zoo("llama"), "tmp": tmp_path, "other": other}
    done = ggufx(*(a.format(**places) for a in arguments), cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other"]


def test_everything_wrong_is_told_at_once(zoo, tmp_path: Path):
    from safetensors.numpy import save_file
    from safetensors.torch import load_file

    broken = tmp_path / "broken"
    shutil.copytree(zoo("llama-tied"), broken)
    tensors = {n: t.numpy() for n, t in load_file(broken / "model.safetensors").items()}
    tensors["model.layers.0.self_attn.unknown.weight"] = tensors["model.norm.weight"]
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"][:-1]
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    save_file(tensors, broken / "model.safetensors")
    config = json.loads((broken / "config.json").read_text())
    del config["rms_norm_eps"]
    (broken / "config.json").write_text(json.dumps(config))
    done = ggufx("hf-to-gguf", broken, "-o", tmp_path / "a.gguf")
    assert done.returncode == ExitStatus.BAD_INPUT
    for words in ("4 problems", "unknown.weight", "up_proj", "k_proj", "rms_norm_eps"):
        assert words in done.stderr
    assert not (tmp_path / "a.gguf").exists()


def test_a_reader_that_leaves_is_no_error(gguf: Path):
    command = f"{sys.executable} -m ggufx inspect {gguf} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_no_colour_without_a_terminal(gguf: Path):
    assert "\x1b" not in ggufx("inspect", gguf, env={"FORCE_COLOR": ""}).stdout


def test_inspect_shows_all(zoo, gguf: Path):
    document = json.loads(ggufx("inspect", gguf, "--json").stdout)
    assert document["metadata"]["llama.block_count"] == {"type": "uint32", "value": 2}
    assert {t["name"] for t in document["tensors"]} > {"token_embd.weight", "blk.1.ffn_down.weight"}
    folder = json.loads(ggufx("inspect", zoo("llama"), "--json").stdout)
    assert folder["config"]["architectures"] == ["LlamaForCausalLM"]
    assert len(folder["tensors"]) == 21


def test_inspect_cuts_the_bytes_that_a_file_keeps(gguf: Path, tmp_path: Path):
    from ggufx.converters.planners.own_keys import kept_value

    long = change_gguf(gguf, tmp_path / "a.gguf", None, lambda keys: keys.update({"ggufx.kept.x": kept_value(np.zeros(9999))}))
    (row,) = (line for line in ggufx("inspect", long).stdout.splitlines() if line.startswith("ggufx.kept.x"))
    assert "string[1]" in row
    assert row.endswith("AAA... (106656 characters)']")
    assert len(row) < 300
    document = json.loads(ggufx("inspect", long, "--json").stdout)["metadata"]["ggufx.kept.x"]
    assert len(document["value"]["first"][0]) < 200
    assert len(json.loads(ggufx("inspect", long, "--get", "ggufx.kept.x").stdout)[0]) == 106656


def test_quantize(zoo, tmp_path: Path):
    assert ggufx("hf-to-gguf", zoo("llama-256"), "-o", tmp_path / "a.gguf").returncode == 0
    assert ggufx("quantize", tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_k_m").returncode == 0
    again = ggufx("quantize", tmp_path / "b.gguf", tmp_path / "c.gguf", "q5_k_m")
    assert again.returncode == ExitStatus.USAGE
    assert "--allow-requantize" in again.stderr
    fallback = ggufx("quantize", tmp_path / "a.gguf", tmp_path / "c.gguf", "iq2_xxs")
    assert fallback.returncode == ExitStatus.USAGE
    assert "--imatrix" in fallback.stderr


def test_fallbacks_are_named(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama"), "-o", tmp_path / "a.gguf", "--outtype", "q4_k_m", "--json")
    assert done.returncode == 0, done.stderr
    assert {f["wanted"] for f in json.loads(done.stdout)["fallbacks"]} >= {"Q4_K"}
    assert "instead of Q4_K" in done.stderr
    refused = ggufx("hf-to-gguf", zoo("llama"), "-o", tmp_path / "b.gguf", "--outtype", "q4_k_m", "--no-fallback")
    assert refused.returncode == ExitStatus.UNSUPPORTED


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("tiles", [0, 4])
def test_signals_keep_what_was_done(kind, tiles: int, zoo, tmp_path: Path):
    """And say so, and --resume goes on from there; where nothing was done, nothing stays."""
    arguments = ["hf-to-gguf", str(zoo("llama")), "-o", str(tmp_path / "a.gguf"), "--json", "--threads", "1"]
    code = ("import sys, os, signal, ggufx.converters.run.execute as e\n"
            "from ggufx.cli.main import run\n"
            "real, left = e.Run._mark, [TILES]\n"
            "def stop(*a):\n"
            "    if not left[0]: os.kill(os.getpid(), SIGNAL)\n"
            "    left[0] -= 1\n"
            "    return real(*a)\n"
            "if left[0]: e.Run._mark = stop\n"
            "else: e.Journal = lambda *a: os.kill(os.getpid(), SIGNAL)\n"
            f"sys.argv = ['ggufx', *{arguments!r}]\n"
            "run()").replace("SIGNAL", str(int(kind))).replace("TILES", str(tiles))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    status, word = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}[kind]
    assert done.returncode == status, done.stderr
    document = json.loads(done.stdout)
    assert (document["ok"], document["exit_code"]) == (False, status)
    assert (document["error"]["code"], document["error"]["message"]) == ("interrupted", word)
    if not tiles:
        assert done.stderr == f"error: {word}\n"
        assert list(tmp_path.iterdir()) == []
        return
    assert "--resume" in done.stderr
    assert "--resume" in document["error"]["hint"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gguf.ggufx-journal", "a.gguf.part"]
    again = ggufx(*arguments[:-3], "--resume")
    assert again.returncode == 0, again.stderr
    assert "was there already" in again.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["a.gguf"]
    finished = ggufx(*arguments[:-3], "--resume")
    assert finished.returncode == 0, finished.stderr
    assert "all of it was there already" in finished.stdout


def test_the_result_in_few_lines(zoo, gguf: Path, tmp_path: Path):
    """Input, output, type, size, bits per weight, time and what to do next; a checksum only where more is wanted."""
    done = ggufx("hf-to-gguf", zoo("llama"), "-o", "a.gguf", "--outtype", "q8_0", cwd=tmp_path)
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"a\.gguf: \d+\.\d+ kB, Q8_0 \(.* Q8_0.*\), [\d.]+ bits per weight", first)
    assert re.fullmatch(rf"from {zoo('llama')} \(LlamaForCausalLM, 21 tensors, [\d.]+ K parameters\) in [\d.]+ s", second)
    assert f"next: ggufx verify {zoo('llama')} a.gguf" in done.stderr
    sha256 = hashlib.sha256((tmp_path / "a.gguf").read_bytes()).hexdigest()
    assert sha256 not in done.stdout
    again = ggufx("hf-to-gguf", zoo("llama"), "-o", "a.gguf", "--outtype", "q8_0", "--force", "-v", cwd=tmp_path)
    assert f"{sha256}  a.gguf" in again.stdout.splitlines()
    back = ggufx("gguf-to-hf", gguf, "back", "--verify", cwd=tmp_path)
    assert re.match(r"back: \d+\.\d+ kB in \d files, 21 BF16", back.stdout)
    assert "next:" not in back.stderr  # it is verified


def test_a_folder_takes_the_conventional_name(zoo, gguf: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    for place in ("out", "out/"):
        done = ggufx("hf-to-gguf", zoo("llama"), "-o", place, "--force", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert ggufx("quantize", gguf, "out/", "q8_0", cwd=tmp_path).returncode == 0
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["Llama-116K-BF16.gguf", "Llama-116K-Q8_0.gguf"]


@pytest.mark.parametrize("arguments", [
    ["hf-to-gguf", "{zoo}", "-o", "{tmp}/no/x.gguf"], ["hf-to-gguf", "{zoo}", "-o", "{tmp}/no/"],
    ["gguf-to-hf", "{gguf}", "{tmp}/no/out"], ["quantize", "{gguf}", "{tmp}/no/q.gguf", "q8_0"],
    ["hf-to-gguf", "{zoo}", "-o", "{tmp}/there"], ["gguf-to-hf", "{gguf}", "{tmp}/there"],
    ["quantize", "{gguf}", "{tmp}/there", "q8_0,q4_0"], ["quantize", "{gguf}", "{gguf}", "q8_0"],
    ["quantize", "{gguf}", "{tmp}/q.gguf", "q8_0", "--checksums", "{tmp}/there"],
    ["quantize", "{gguf}", "{tmp}/q.gguf", "q8_0", "--checksums", "{tmp}/no/sums"],
    ["quantize", "{gguf}", "{tmp}/q.gguf", "q8_0", "--device", "cuda:999"],
])
def test_a_dry_run_refuses_what_a_run_refuses(arguments: list[str], zoo, gguf: Path, tmp_path: Path):
    (tmp_path / "there").write_text("mine")
    call = [a.format(zoo=zoo("llama"), gguf=gguf, tmp=tmp_path) for a in arguments]
    dry, real = (CliRunner().invoke(app, [*call, *more]) for more in (["--dry-run"], []))
    assert dry.exit_code == real.exit_code != 0
    assert dry.stderr == real.stderr != ""
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_call_that_cannot_be_parsed_is_a_document_too(tmp_path: Path):
    for arguments in (["hf-to-gguf", "--json"], ["hf-to-gguf", "m", "--json", "--max-memory", "2"], ["quantise", "--json"]):
        done = ggufx(*arguments)
        assert done.returncode == ExitStatus.USAGE
        document = json.loads(done.stdout)
        assert document["error"]["code"] == "usage"
        assert document["exit_code"] == ExitStatus.USAGE
        assert "--help" in document["error"]["hint"]


@pytest.mark.parametrize(("text", "size"), [("5GB", 5 * 10**9), ("1GiB", 1 << 30), ("800 MB", 8 * 10**8), ("12", 12)])
def test_byte_size(text: str, size: int):
    assert byte_size(text) == size


def test_a_broken_generation_config_costs_only_itself(zoo, tmp_path: Path):
    model = shutil.copytree(zoo("llama"), tmp_path / "model")
    (model / "generation_config.json").write_text("{")
    done = ggufx("hf-to-gguf", model, "-o", tmp_path / "a.gguf")
    assert done.returncode == 0, done.stderr
    assert "generation_config.json" in done.stderr
    assert ggufx("gguf-to-hf", tmp_path / "a.gguf", tmp_path / "back").returncode == 0


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cpu:0"])
def test_what_is_no_device(gguf: Path, tmp_path: Path, name: str):
    for arguments in (["quantize", gguf, tmp_path / "q.gguf", "q8_0"], ["gguf-to-hf", gguf, tmp_path / "q"]):
        done = ggufx(*arguments, "--device", name)
        assert done.returncode == ExitStatus.USAGE
        assert "is not a device" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_gpu_that_is_not_there(gguf: Path, tmp_path: Path):
    """Whatever is here, there is no GPU number 999."""
    done = ggufx("quantize", gguf, tmp_path / "q.gguf", "q8_0", "--device", "cuda:999", "--json")
    assert done.returncode == ExitStatus.UNSUPPORTED
    assert json.loads(done.stdout)["error"]["code"] == "unsupported"
    assert "cuda:999" in done.stderr
    assert ggufx("warmup", "q8_0", "--device", "cuda:999").returncode == ExitStatus.UNSUPPORTED
    assert not list(tmp_path.iterdir())


def test_the_device_is_told(gguf: Path, tmp_path: Path):
    done = ggufx("quantize", gguf, tmp_path / "q.gguf", "q8_0", "--json")
    assert json.loads(done.stdout)["devices"] == ["cpu"]


def test_kernels_of_a_gpu_are_tried(tmp_path: Path):
    pytest.importorskip("triton")
    done = ggufx("warmup", "q8_0", "bf16", "--device", "cuda", "--json", env={"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    tried = json.loads(done.stdout)["kernels"]
    assert [(row["type"], row["kernel"], row["wrong"]) for row in tried] == [
        (kind, kernel, None) for kind in ("Q8_0", "BF16") for kernel in ("plain", "values")]
