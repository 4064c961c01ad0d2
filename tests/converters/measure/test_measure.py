"""Figures of quantized files against what the logits themselves say, computed here in another way."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ggufx.cli.main import app
from ggufx.converters.errors import GgufxError
from ggufx.converters.measure.measure import measure
from ggufx.converters.measure.worker import Sums, judge
from typer.testing import CliRunner

import ggufx

CORPUS = Path(__file__).parents[2] / "zoo" / "corpus.txt"


def test_figures_of_made_up_logits():
    rng = np.random.default_rng(0)
    base, other, following = rng.normal(size=(100, 50)), rng.normal(size=(100, 50)), rng.integers(0, 50, 100)
    sums = Sums()
    judge(base.astype(np.float32), other.astype(np.float32), following, sums)
    row = sums.row()
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (base, other))
    divergence = (p * np.log(p / q)).sum(1)
    assert row["perplexity"] == pytest.approx(np.prod(q[range(100), following] ** (-1 / 100)), rel=1e-5)
    assert row["divergence"] == pytest.approx(divergence.mean(), rel=1e-5)
    assert row["divergence_error"] == pytest.approx(divergence.std(ddof=1) / 10, rel=1e-5)
    assert row["divergence_median"] == pytest.approx(np.sort(divergence)[49:51].mean(), rel=1e-5)
    assert row["divergence_max"] == pytest.approx(divergence.max(), rel=1e-5)
    moved = (q - p)[range(100), following]
    assert row["rms_dp"] == pytest.approx(np.sqrt((moved**2).mean()), rel=1e-5)
    assert row["rms_dp_error"] == pytest.approx((moved**2).std(ddof=1) / 10 / (2 * row["rms_dp"]), rel=1e-5)
    assert row["same_top"] == (base.argmax(1) == other.argmax(1)).mean()
    assert row["positions"] == 100


def test_files_side_by_side(converted, tmp_path: Path):
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    text = tmp_path / "text.txt"
    text.write_text(CORPUS.read_text() * 2)
    files = [converted("llama-256", kind) for kind in ("f32", "q8_0", "q4_0")]
    done = CliRunner().invoke(app, ["measure", *map(str, files), "--data", str(text), "-c", "64", "--chunks", "3", "--json",
                                    "--html", str(tmp_path / "page.html")])
    base, good, bad = json.loads(done.stdout)["files"]
    assert ggufx.measure(files[0], files[1:], text, context=64, chunks=3)[2].to_json() == bad
    page = (tmp_path / "page.html").read_text()
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)".*?<title>(.*?):', page)
    assert [name for *_, name in points] == [p.name for p in files[1:]]
    assert float(points[0][0]) > float(points[1][0])  # larger
    assert float(points[0][1]) > float(points[1][1])  # and further down
    assert base["positions"] == 3 * 31
    assert (base["divergence"], base["same_top"]) == (0, 1)
    assert 0 < good["divergence"] < bad["divergence"]
    assert good["same_top"] >= bad["same_top"]
    assert [f["size"] for f in (base, good, bad)] == [p.stat().st_size for p in files]
    assert base["perplexity"] == pytest.approx(good["perplexity"], rel=0.02)
    text.write_text("a few words")
    with pytest.raises(GgufxError, match="at least 128 are needed"):
        measure(files[0], files[1:], [text], 64)
