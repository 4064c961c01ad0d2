"""ggufx verify and --verify as a user and a script meet them, and the HTML page in a real browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import subprocess
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.converters.report.html_page import STEPS, shade, split_name
from typer.testing import CliRunner
from zoo.changed import as_type, change_folder, change_gguf, rows, with_rows

import ggufx

CHROMIUM = Path("/usr/bin/chromium")
KINDS = ("Q8_0", "Q5_1", "Q4_0")


def run(*arguments: object):
    """The command in this process: (exit status, stdout, stderr)."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"HF_HUB_OFFLINE": "1", "COLUMNS": "200"})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def files(zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint, its file, a file of several types, and one with a reversed and a missing tensor."""
    root = tmp_path_factory.mktemp("verify")

    def mixed(held: dict) -> None:
        matrices = [n for n in held if n.startswith("blk.") and "norm" not in n]
        for i, name in enumerate(matrices):
            held[name] = as_type(held[name], KINDS[i % len(KINDS)])

    def damaged(held: dict) -> None:
        mixed(held)
        held["blk.3.attn_q.weight"] = with_rows(held["blk.3.attn_q.weight"], rows(held["blk.3.attn_q.weight"])[::-1])
        del held["blk.2.ffn_up.weight"]

    ggufx.hf_to_gguf(zoo("gemma3"), root / "own.gguf")
    return {"folder": zoo("gemma3"), "own": root / "own.gguf",
            "mixed": change_gguf(root / "own.gguf", root / "mixed.gguf", mixed),
            "damaged": change_gguf(root / "own.gguf", root / "damaged.gguf", damaged)}


def test_the_exit_status_is_the_answer(files: dict[str, Path]):
    assert run("verify", files["folder"], files["mixed"], "--quiet") == (ExitStatus.DONE, "", "")
    assert run("verify", files["folder"], files["damaged"], "--quiet") == (ExitStatus.NO, "", "")
    assert run("verify", files["folder"], files["folder"].parent / "nothing")[0] == ExitStatus.BAD_INPUT
    assert run("verify", files["folder"], files["mixed"], "-q", "--max-rmse", "0.001")[0] == ExitStatus.NO


def test_people_see_the_worst_first_and_the_verdict_last(files: dict[str, Path]):
    status, out, _ = run("verify", files["folder"], files["damaged"], "--worst", 4)
    lines = out.splitlines()
    table = lines.index("worst tensors")
    assert [line.split()[0] for line in lines[table + 2 : table + 6]][:2] == ["blk.3.attn_q.weight", "blk.2.ffn_up.weight"]
    assert not lines[table + 6]
    assert lines[-1].startswith("DIFFERENT: ")
    assert "1 different, 1 only in A" in lines[-1]
    assert hashlib.sha256(files["damaged"].read_bytes()).hexdigest() in out
    assert status == ExitStatus.NO


def test_json_is_the_whole_report(files: dict[str, Path]):
    status, out, _ = run("verify", files["folder"], files["damaged"], "--json", "--no-checksums")
    document = json.loads(out)
    assert status == ExitStatus.NO
    assert document["ok"] is True
    assert document["same"] is False
    assert {t["name"] for t in document["tensors"] if not t["same"]} == {"blk.3.attn_q.weight", "blk.2.ffn_up.weight"}
    assert document["b"]["files"][0]["sha256"] is None


def test_after_verifies_what_was_written(files: dict[str, Path], tmp_path: Path):
    status, out, _ = run("hf-to-gguf", files["folder"], "-o", tmp_path / "a.gguf", "--outtype", "q8_0", "--verify")
    assert status == ExitStatus.DONE
    assert out.splitlines()[-1].startswith("same: tensors within what their types allow")
    status, out, _ = run("gguf-to-hf", tmp_path / "a.gguf", tmp_path / "back", "--verify", "--json")
    assert status == ExitStatus.DONE
    assert json.loads(out)["verify"]["same"] is True
    status, out, _ = run("quantize", tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_0", "--allow-requantize", "--verify",
                         "--override-kv", "gemma3.context_length=int:99", "--json")
    assert (status, json.loads(out)["verify"]["same"]) == (ExitStatus.DONE, True)


def test_after_tells_of_what_does_not_come_back(files: dict[str, Path], tmp_path: Path):
    """A file whose settings no folder can say is different afterwards, and the status says so."""
    from ggufx.converters.io.values import u32

    def odd(keys: dict) -> None:
        for key in [k for k in keys if k.startswith("ggufx.")]:
            del keys[key]
        keys["gemma3.nobody_knows"] = u32(3)

    bad = change_gguf(files["own"], tmp_path / "odd.gguf", keys=odd)
    status, out, _ = run("gguf-to-hf", bad, tmp_path / "back", "--verify")
    assert status == ExitStatus.NO
    assert "gemma3.nobody_knows" in out
    assert (tmp_path / "back" / "config.json").exists()


def test_the_page_is_not_replaced_unasked(files: dict[str, Path], tmp_path: Path):
    page = tmp_path / "report.html"
    page.write_text("mine")
    assert run("verify", files["folder"], files["own"], "--html", page)[0] == ExitStatus.USAGE
    assert page.read_text() == "mine"
    assert run("verify", files["folder"], files["own"], "--html", page, "--force")[0] == ExitStatus.DONE
    assert page.read_text().startswith("<!doctype html>")
    assert run("verify", files["folder"], files["own"], "--html", tmp_path / "no" / "x.html")[0] == ExitStatus.IO


@pytest.mark.parametrize(("name", "layer", "kind"), [
    ("blk.12.attn_q.weight", 12, "attn_q.weight"), ("token_embd.weight", None, "token_embd.weight"),
    ("model.layers.3.mlp.experts.17.up_proj.weight", 3, "mlp.experts.*.up_proj.weight"),
    ("blk.0.attn_q.weight.lora_a", 0, "attn_q.weight.lora_a")])
def test_layers_and_kinds(name: str, layer: int | None, kind: str):
    assert split_name(name) == (layer, kind)


def test_shades():
    assert [shade(0), shade(STEPS[0]), shade(STEPS[-1]), shade(float("inf"))] == ["s0", "s1", "s7", "s7"]


# ------------------------------------------------------------------------------------------------------ the browser


def browse(page: Path, script: str, tmp_path: Path, *options: str) -> dict:
    """What `script` returns in a browser that shows the page. The policy is opened for this one script."""
    code = f"""
      const answer = document.createElement("pre");
      answer.id = "answer";
      answer.textContent = JSON.stringify((() => {{ {script} }})());
      document.body.append(answer);
    """
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    text = page.read_text(encoding="utf-8")
    opened = text.replace("script-src ", f"script-src {html.escape(repr('sha256-' + digest))} ", 1)
    opened = opened.replace("</body>", f"<script>{code}</script><script>document.title = 'unasked'</script></body>")
    shown = tmp_path / "shown.html"
    shown.write_text(opened, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=1300,900", *options, "--dump-dom", shown.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert "<title>unasked" not in done.stdout  # a script that the policy does not name
    return json.loads(html.unescape(found[1]))


LOOK = """
  const colour = (x) => getComputedStyle(x).backgroundColor;
  const cells = [...document.querySelectorAll(".heat td")].filter((x) => x.className);
  const of = (name) => cells.find((x) => x.title.startsWith(name));
  const shades = [..."01234567"].map((i) => colour(document.querySelector(".legend .s" + i)));
  const names = () => [...document.querySelectorAll("#tensors tbody tr")].filter((r) => !r.hidden)
    .map((r) => r.cells[0].textContent);
  const click = (text) => [...document.querySelectorAll("#tensors button")].find((b) => b.textContent === text).click();
  const numbers = (i) => [...document.querySelectorAll("#tensors tbody tr")].map((r) => Number(r.cells[i].dataset.v));
  const first = names();
  click("SNR dB"); const down = numbers(10);
  click("SNR dB"); const up = numbers(10);
  click("tensor"); click("tensor"); const alphabetical = names();
  const filter = document.getElementById("filter");
  filter.value = "attn_q different"; filter.dispatchEvent(new Event("input")); const filtered = names();
  return {cells: cells.length, rows: document.querySelectorAll(".heat tbody tr").length, shades, first, down, up, alphabetical,
    filtered, bad: [of("blk.3.attn_q.weight").className, of("blk.3.attn_q.weight").textContent],
    gone: [of("blk.2.ffn_up.weight").className, of("blk.2.ffn_up.weight").textContent],
    same: of("blk.0.attn_norm.weight").className, close: of("blk.0.attn_k.weight").className,
    wide: document.scrollingElement.scrollWidth - innerWidth, paper: colour(document.body),
    verdict: document.getElementById("verdict").textContent, heads: document.querySelector(".heat thead").offsetHeight,
    loaded: performance.getEntriesByType("resource").length};
"""

browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}")


@browser
def test_the_page_in_a_browser(files: dict[str, Path], tmp_path: Path):
    page = tmp_path / "report.html"
    run("verify", files["folder"], files["damaged"], "--html", page)
    seen = browse(page, LOOK, tmp_path)
    assert seen["verdict"] == "different"
    assert seen["cells"] == 80  # each tensor of the model has its place
    assert seen["rows"] == 7  # six layers, and what is in none
    assert seen["bad"][0] == "bad"
    assert re.fullmatch(r"✕1\d\d", seen["bad"][1])  # percent
    assert seen["gone"] == ["gone", "∅"]
    assert seen["same"] == "same"
    assert re.fullmatch("s[1-6]", seen["close"])
    assert len(set(seen["shades"])) == 8
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in seen["shades"]]
    assert light == sorted(light, reverse=True)  # on white, the larger the error the darker
    assert set(seen["first"][:2]) == {"blk.3.attn_q.weight", "blk.2.ffn_up.weight"}
    assert seen["down"] == sorted(seen["down"], reverse=True)
    assert seen["up"] == sorted(seen["up"])
    layers = [split_name(name)[0] for name in seen["alphabetical"] if name.startswith("blk.")]
    assert layers == sorted(layers)
    assert seen["alphabetical"][-1] == "token_embd.weight"
    assert seen["filtered"] == ["blk.3.attn_q.weight"]
    assert seen["wide"] <= 0
    assert seen["heads"] > 60  # the names of the kinds stand upright
    assert seen["loaded"] == 0
    assert seen["paper"] == "rgb(255, 255, 255)"
    dark = browse(page, LOOK, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert dark["paper"] == "rgb(20, 24, 29)"
    assert len(set(dark["shades"])) == 8


def test_the_page_loads_nothing_from_elsewhere(files: dict[str, Path], tmp_path: Path):
    page = tmp_path / "report.html"
    run("verify", files["folder"], files["mixed"], "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"\b(src|href|action|style|on\w+)\s*=|url\(|@import|https?:", text)


@pytest.fixture(scope="module")
def hostile(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two folders whose tensors and settings have names that would run a script."""
    root = tmp_path_factory.mktemp("hostile")
    attack = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>\"'&"

    def tensors(held: dict) -> None:
        for name in list(held)[1:]:
            del held[name]
        held[attack] = next(iter(held.values())).clone()

    def config(values: dict) -> None:
        values["architectures"] = ["NobodysModel"]
        values[attack] = attack + "\x1b[2J"

    one = change_folder(zoo("llama"), root / "one", tensors, config)
    two = change_folder(one, root / "two", lambda held: held[attack].add_(1), lambda values: values.update({attack: 3}))
    status, out, _ = run("verify", one, two, "--html", root / "report.html")
    assert status == ExitStatus.NO
    assert "\x1b" not in out
    return root / "report.html"


def test_names_from_files_are_text(hostile: Path):
    text = hostile.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text


@browser
def test_names_from_files_are_text_in_a_browser(hostile: Path, tmp_path: Path):
    seen = browse(hostile, """
      return {title: document.title, images: document.images.length, scripts: document.scripts.length,
        names: [...document.querySelectorAll("#tensors tbody tr")].map((r) => r.cells[0].textContent)};
    """, tmp_path)
    assert "owned" not in seen["title"]
    assert seen["images"] == 0
    assert seen["scripts"] == 2  # the page's and the test's
    assert any(name.startswith("<script>") for name in seen["names"])
