"""What tensors lost, against sums made here in another way; the same digits however the work was cut or interrupted."""

import functools
import json
import math
import operator
import re
from pathlib import Path

import numpy as np
import pytest
from ggufx.cli.main import app
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf_model
from ggufx.converters.plan.tiles import is_copy
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.execute import execute
from ggufx.converters.run.losses import partials, sums_of
from ggufx.quant import dequantize
from ggufx.quant.cpu.compile import NO_WEIGHTS
from ggufx.quant.cpu.error import squares
from typer.testing import CliRunner
from zoo.quantized import write_legacy

import ggufx


def plan_of(source: Path, out: Path, kind: str = "q4_k_m", **how):
    return QuantizePlanner(source, out, Quantization(**how)).plan(kind)


def values(path: Path) -> dict[str, np.ndarray]:
    """float64 of each tensor."""
    raw = path.read_bytes()
    return {t.name: dequantize(np.frombuffer(raw, np.uint8, t.nbytes, t.offset).reshape(math.prod(t.shape[:-1]), -1),
                               t.type).astype(np.float64).reshape(t.shape) for t in read_gguf_model(path).tensors.values()}


def test_partials_add_up_to_the_same_in_any_groups():
    numbers = np.random.default_rng(0).normal(size=999) * 10.0 ** np.random.default_rng(1).integers(-200, 200, 999)
    numbers = [*np.abs(numbers).tolist(), 5e-324]
    whole = math.fsum(numbers)
    for step in (1, 7, 500):
        pieces = [partials(numbers[at : at + step]) for at in range(0, len(numbers), step)]
        assert math.fsum(x for piece in pieces for x in piece) == whole
    assert partials([]) == partials([0.0]) == ()


@pytest.mark.parametrize("cols", [1, 16, 53])
def test_sums_of_a_row_are_made_in_one_order(cols: int):
    """Number i goes to sum i % 16, and these are added one after another, each product and each sum rounded once."""
    rng = np.random.default_rng(cols)
    x, y, w = (rng.normal(size=(2, cols)).astype(np.float32) for _ in range(3))
    for weights in (None, w[0]):
        out = np.empty((2, 2), np.float64)
        squares(x, y, NO_WEIGHTS if weights is None else weights, out)
        for row in range(2):
            lost, held = [0.0] * 16, [0.0] * 16
            for i, (a, b) in enumerate(zip(x[row].tolist(), y[row].tolist(), strict=True)):
                factor = 1.0 if weights is None else float(weights[i])
                lost[i % 16] += factor * ((a - b) * (a - b))
                held[i % 16] += factor * (a * a)
            assert out[row].tolist() == [functools.reduce(operator.add, lost), functools.reduce(operator.add, held)]


@pytest.mark.parametrize("cols", [1, 37, 256])
def test_bfloat16_is_added_up_as_it_is_stored(cols: int):
    """The sums are those of its float32 values, with what is no number left out of both."""
    rng = np.random.default_rng(cols)
    bits = (rng.normal(size=(3, cols)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    bits[1, 0] = 0x7FC0
    floats = (bits.astype(np.uint32) << 16).view(np.float32)
    stored = np.round(floats.astype(np.float16), 1).view(np.uint8).reshape(3, -1)
    weights = rng.random(cols).astype(np.float32)
    for how in (None, weights):
        assert sums_of(bits, "BF16", stored, "F16", how, False) == sums_of(floats, "F32", stored, "F16", how, False)


def test_sums_that_are_no_numbers():
    with pytest.raises(OverflowError):
        partials([1e308, 1e308])


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_what_the_files_say(weighted: bool, converted, tmp_path: Path):
    source = converted("llama-256", "f32")
    before = values(source)
    rng = np.random.default_rng(0)
    entries = {name: rng.uniform(0.1, 2, x.shape[-1]).astype(np.float32) for name, x in before.items() if x.ndim == 2}
    write_legacy(tmp_path / "im.dat", {name: w[None] for name, w in entries.items()})
    how = {"imatrix_file": tmp_path / "im.dat"} if weighted else {}
    out = tmp_path / "out.gguf"
    losses = execute(plan_of(source, out, **how), losses=True).losses
    after = values(out)
    assert [t.name for t in losses] == [t.name for t in sorted(read_gguf_model(out).tensors.values(), key=lambda t: t.offset)]
    for t in losses:
        x, y = before[t.name], after[t.name]
        w = entries[t.name] if t.weighted else 1.0
        assert t.error == pytest.approx((w * (x - y) ** 2).sum() / (w * x**2).sum(), rel=1e-5)
        assert t.weighted == (weighted and t.type not in ("F32",))
    assert {t.type for t in losses if t.error} >= {"Q4_K", "Q6_K"}
    assert all(t.error == 0 for t in losses if t.type == "F32")


def test_digits_depend_on_no_cut_and_no_interrupt(converted, tmp_path: Path):
    source = converted("llama-256", "f32")
    plan = plan_of(source, tmp_path / "out.gguf")
    whole = execute(plan, threads=1, losses=True).losses
    (tmp_path / "out.gguf").unlink()

    class Stops(Threads):
        def run(self, conversion):
            for number, receipt in enumerate(super().run(conversion)):
                yield receipt
                if number == 20:
                    raise KeyboardInterrupt

    for asked in (True, False):  # receipts with sums are taken over; those without are made anew
        with pytest.raises(KeyboardInterrupt):
            execute(plan, max_memory=1 << 20, engine=Stops(2), losses=asked)
        result = execute(plan, max_memory=1 << 20, threads=2, resume=True, losses=True)
        assert result.kept == 21 if asked else result.kept <= sum(map(is_copy, plan.jobs)) < 21
        assert result.losses == whole
        assert execute(plan, resume=True, losses=True).losses == whole  # all is there: made anew, written nowhere
        (tmp_path / "out.gguf").unlink()


def test_a_column_per_type_and_a_page(converted, tmp_path: Path):
    source, out = converted("llama-256", "bf16"), tmp_path / "m-{outtype}.gguf"
    for form in ("json", "html"):
        done = CliRunner().invoke(app, ["quantize", str(source), str(out), "q8_0,q4_0,bf16", "--report",
                                        str(tmp_path / f"report.{form}"), "--force"])
        assert done.exit_code == 0, done.output
    assert "m-q4_0.gguf" in done.output
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert [Path(f["path"]).name for f in files] == ["m-q8_0.gguf", "m-q4_0.gguf", "m-bf16.gguf"]
    good, bad, same = (f["error"] for f in files)
    assert same == 0 < good < bad
    for f in files:
        found = [(math.prod(t["shape"]), t["error"]) for t in f["tensors"]]
        assert f["error"] == pytest.approx(sum(n * e for n, e in found) / sum(n for n, _ in found), rel=1e-5)
        assert f["relative_rmse"] == pytest.approx(f["error"] ** 0.5, rel=1e-5)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<table class="heat">') == 6  # of three files, in layers and outside
    assert len(re.findall(r"<td>blk\.0\.ffn_down\.weight</td>", page)) == 3


def test_refusals(converted, zoo, tmp_path: Path):
    source = converted("llama-256", "f32")
    with pytest.raises(GgufxError, match=r"neither \.json nor \.html"):
        ggufx.quantize(source, tmp_path / "o.gguf", "q8_0", report=tmp_path / "report.txt")
    done = ggufx.quantize(source, tmp_path / "o.gguf", "q8_0", report=tmp_path / "report.json")
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert [t.name for t in done.losses] == [t["name"] for t in file["tensors"]]
    with pytest.raises(GgufxError, match="exists already"):
        ggufx.quantize(source, tmp_path / "p.gguf", "q8_0", report=tmp_path / "report.json")
    assert not (tmp_path / "p.gguf").exists()
    with pytest.raises(GgufxError, match="a report is of GGUF files"):
        execute(ggufx.gguf_to_hf(source, tmp_path / "hf", dry_run=True), losses=True)
