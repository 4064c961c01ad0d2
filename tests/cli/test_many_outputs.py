"""Several file types in one call, as a user and a script meet them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus
from zoo.quantized import importance, write_legacy


def ggufx(*arguments: object, **options) -> subprocess.CompletedProcess:
    """A ggufx process; no Hub is reached from here."""
    return subprocess.run([sys.executable, "-m", "ggufx", *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}, **options)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_one_table_and_one_manifest(zoo, tmp_path: Path):
    done = ggufx("hf-to-gguf", zoo("llama-256"), "--outtype", "q4_k_m,Q6_K,q8_0", "-o", "m-{outtype}.gguf",
                 "--checksums", "sums", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["m-q4_k_m.gguf", "m-q6_k.gguf", "m-q8_0.gguf", "sums"]
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["file", "type", "bits/weight", "size"]
    *rows, last = rows
    assert [row.split()[:2] for row in rows] == [["m-q4_k_m.gguf", "Q4_K_M"], ["m-q6_k.gguf", "Q6_K"], ["m-q8_0.gguf", "Q8_0"]]
    assert "(LlamaForCausalLM, 20 tensors, 897 K parameters): 2.30 MB in " in last
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "-c", "--quiet", "sums"], cwd=tmp_path).returncode == 0
    alone = ggufx("hf-to-gguf", zoo("llama-256"), "--outtype", "q6_k", "-o", "alone-{outtype}.gguf", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert (tmp_path / "alone-q6_k.gguf").read_bytes() == (tmp_path / "m-q6_k.gguf").read_bytes()


def test_the_conventions_names_and_a_document(zoo, tmp_path: Path):
    """What can be made is made and verified; what cannot is in the document, on stderr and in the exit status."""
    done = ggufx("hf-to-gguf", zoo("llama-256"), "--outtype", "q4_0,iq2_xxs,bf16", "--json", "--verify", cwd=tmp_path)
    assert done.returncode == ExitStatus.USAGE
    assert names(tmp_path) == ["llama-897K-256-BF16.gguf", "llama-897K-256-Q4_0.gguf"]
    told, *more = done.stdout.splitlines()
    assert not more
    document = json.loads(told)
    assert document["ok"] is False
    assert [f["file_type"] for f in document["files"]] == ["Q4_0", "BF16"]
    for file in document["files"]:
        data = (tmp_path / file["path"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["size"] == len(data)
        assert file["verify"]["same"] is True
        assert 0 < file["bits_per_weight"] < 17
    (failure,) = document["failures"]
    assert failure["path"] == "llama-897K-256-IQ2_XXS.gguf"
    assert failure["error"]["code"] == "usage"
    assert "llama-897K-256-IQ2_XXS.gguf was not made" in done.stderr.partition("compared in")[0]


def test_the_plan_of_all(zoo, tmp_path: Path):
    call = ("hf-to-gguf", zoo("llama"), "--outtype", "q4_k_m,f16", "-o", tmp_path / "{outtype}.gguf", "--dry-run")
    done = ggufx(*call)
    assert done.returncode == 0, done.stderr
    tensors = [line.split() for line in done.stdout.partition("\n\n")[0].splitlines()]
    assert tensors[0] == ["tensor", "shape", "Q4_K_M", "F16"]
    assert ["output_norm.weight", "64", "F32", "F32"] in tensors
    assert ["blk.0.ffn_up.weight", "96x64", "Q5_0", "F16"] in tensors
    assert "q4_k_m.gguf: stored as Q5_0 instead of Q4_K, whose blocks do not divide their rows (13): " in done.stderr
    document = json.loads(ggufx(*call, "--json").stdout)
    assert document["ok"] is True
    assert document["failures"] == []
    assert {(t["file"], t["type"]) for t in document["tensors"] if t["name"] == "blk.0.ffn_up.weight"} == {
        (str(tmp_path / "q4_k_m.gguf"), "Q5_0"), (str(tmp_path / "f16.gguf"), "F16")}
    assert {f["file"] for f in document["fallbacks"]} == {str(tmp_path / "q4_k_m.gguf")}
    assert document["bytes"] == sum(f["size"] for f in document["files"])
    lacking = ggufx("hf-to-gguf", zoo("llama-256"), "--outtype", "q4_k_m,iq1_s", "--dry-run", cwd=tmp_path)
    assert lacking.returncode == ExitStatus.USAGE
    assert "IQ1_S.gguf was not made" in lacking.stderr
    assert "Q4_K_M.gguf" in lacking.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_one_type_cannot_hold(zoo, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(zoo("llama-256"), model)
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = 70000.0
    save_file(tensors, model / "model.safetensors")
    done = ggufx("hf-to-gguf", model, "--outtype", "f16,q4_0,bf16", "-o", tmp_path / "m-{outtype}.gguf", "--json",
                 "--checksums", tmp_path / "sums")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert names(tmp_path) == ["m-bf16.gguf", "m-q4_0.gguf", "model", "sums"]
    assert "m-f16.gguf was not made: tensor blk.0.ffn_up.weight" in done.stderr
    document = json.loads(done.stdout)
    assert [Path(f["path"]).name for f in document["failures"]] == ["m-f16.gguf"]
    assert [Path(f["path"]).name for f in document["files"]] == ["m-q4_0.gguf", "m-bf16.gguf"]
    assert [line.split()[1] for line in (tmp_path / "sums").read_text().splitlines()] == [
        str(tmp_path / "m-q4_0.gguf"), str(tmp_path / "m-bf16.gguf")]


def test_quantize(zoo, tmp_path: Path):
    """With an importance matrix; an interrupted run goes on; nothing is replaced unasked."""
    import ggufx as api

    api.hf_to_gguf(zoo("llama-256"), tmp_path / "in.gguf", plain=True)
    write_legacy(tmp_path / "matrix.dat", importance(tmp_path / "in.gguf"))
    for folder in ("q4_k_m", "iq2_xxs", "q4_k_s"):
        (tmp_path / folder).mkdir()
    call = ("quantize", "in.gguf", "{outtype}/m.gguf", "q4_k_m,iq2_xxs,q4_k_s", "--imatrix", "matrix.dat", "--resume")
    dying = ("import os, sys, ggufx.converters.run.conversion as e\n"
             "from ggufx.cli.main import run\n"
             "real, calls = e.run_tile, []\n"
             "def stop(*a, **k): calls.append(1); len(calls) == 9 and os._exit(9); return real(*a, **k)\n"
             "e.run_tile = stop\n"
             f"sys.argv = ['ggufx', *{call!r}]\n"
             "run()")
    assert subprocess.run([sys.executable, "-c", dying], cwd=tmp_path, capture_output=True).returncode == 9
    assert not list(tmp_path.glob("*/m.gguf"))
    done = ggufx(*call, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for outtype in ("q4_k_m", "iq2_xxs", "q4_k_s"):
        assert names(tmp_path / outtype) == ["m.gguf"]
    alone = ggufx("quantize", "in.gguf", "alone.gguf", "iq2_xxs", "--imatrix", "matrix.dat", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert (tmp_path / "iq2_xxs" / "m.gguf").read_bytes() == (tmp_path / "alone.gguf").read_bytes()
    again = ggufx("quantize", "in.gguf", "{outtype}/m.gguf", "q4_k_m,q8_0", cwd=tmp_path)
    assert again.returncode == ExitStatus.USAGE
    assert "exists already" in again.stderr
    assert not (tmp_path / "q8_0").exists()


@pytest.mark.parametrize(("outtypes", "outfile", "words"), [
    ("q4_0,q8_0", "m.gguf", "several types would go to this file"),
    ("q4_0,q9_k", "{outtype}.gguf", "unknown file type 'q9_k'"),
    ("q4_0,,q8_0", "{outtype}.gguf", "a type is missing"),
    ("iq1_s,iq2_xxs", "{outtype}.gguf", "2 problems"),
])
def test_calls_that_are_wrong(zoo, tmp_path: Path, outtypes: str, outfile: str, words: str):
    done = ggufx("hf-to-gguf", zoo("llama-256"), "--outtype", outtypes, "-o", outfile, "--json", cwd=tmp_path)
    assert done.returncode == ExitStatus.USAGE
    assert words in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "usage"
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in done.stderr


def test_quiet(zoo, tmp_path: Path):
    """Nothing but what failed."""
    call = ("hf-to-gguf", zoo("llama-256"), "-q", "-o", tmp_path / "{outtype}.gguf", "--outtype")
    done = ggufx(*call, "q4_0,q8_0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = ggufx(*call, "q5_0,iq1_s")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    assert done.stderr.startswith("error: ")
    assert names(tmp_path) == ["q4_0.gguf", "q5_0.gguf", "q8_0.gguf"]
