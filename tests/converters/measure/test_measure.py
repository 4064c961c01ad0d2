"""Figures of quantized files against what the logits themselves say, computed here in another way."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ggufx.cli.main import app
from ggufx.converters.errors import GgufxError
from ggufx.converters.measure.measure import measure
from ggufx.converters.measure.worker import Sums, judge, judge_base
from typer.testing import CliRunner

import ggufx

CORPUS = Path(__file__).parents[2] / "zoo" / "corpus.txt"
GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "measure.npz")  # scripts/golden/measure.py
NEAR = 1e-4  # of figures in exact arithmetic: the base is known in 65536 steps
PRINTED = {  # by llama-perplexity, of a file; and of the base
    "Mean PPL(Q)": (1, "perplexity"), "Mean ln(PPL(Q)/PPL(base))": (1, "log_ratio"), "Mean    KLD": (1, "divergence"),
    "Maximum KLD": (1, "divergence_max"), "99.9%   KLD": (1, "divergence_999"), "Median  KLD": (1, "divergence_median"),
    "RMS Δp": (100, "rms_dp"), "Same top p": (100, "same_top"), "Final estimate": (1, "perplexity"),
}


def test_figures_of_made_up_logits():
    rng = np.random.default_rng(0)
    base, other, following = rng.normal(size=(100, 50)), rng.normal(size=(100, 50)), rng.integers(0, 50, 100)
    sums = Sums()
    ours = judge_base(base.astype(np.float32), following, Sums())
    judge(ours, other.astype(np.float32), following, sums)
    row = sums.row()
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (base, other))
    divergence = (p * np.log(p / q)).sum(1)
    assert row["perplexity"] == pytest.approx(np.prod(q[range(100), following] ** (-1 / 100)), rel=NEAR)
    assert row["divergence"] == pytest.approx(divergence.mean(), rel=NEAR)
    assert row["divergence_error"] == pytest.approx(divergence.std(ddof=1) / 10, rel=NEAR)
    assert row["divergence_median"] == pytest.approx(np.sort(divergence)[49:51].mean(), rel=NEAR)
    assert row["divergence_max"] == pytest.approx(divergence.max(), rel=NEAR)
    moved = (q - p)[range(100), following]
    assert row["rms_dp"] == pytest.approx(np.sqrt((moved**2).mean()), rel=NEAR)
    assert row["rms_dp_error"] == pytest.approx((moved**2).std(ddof=1) / 10 / (2 * row["rms_dp"]), rel=NEAR)
    assert row["same_top"] == (base.argmax(1) == other.argmax(1)).mean()
    assert row["positions"] == 100


def printed(kind: str) -> dict[str, tuple[float, str, str | None]]:
    """What llama-perplexity printed, by our names: the factor, the figure, its error."""
    found = {}
    for line in str(GOLDEN[f"{kind}/printed"]).splitlines():
        name, _, figures = re.sub(r".*Final estimate: PPL =", "Final estimate:", line).partition(":")
        if name.strip() in PRINTED:
            factor, field = PRINTED[name.strip()]
            figure, *error = re.findall(r"-?[\d.]+", figures)
            found[field] = factor, figure, error[0] if error else None
    return found


def digits(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0"])
def test_figures_are_those_of_llama_perplexity(kind: str):
    """Of the same logits, to the last printed digit."""
    sums = Sums()
    base = judge_base(GOLDEN["f32/logits"].copy(), GOLDEN["following"], sums)
    if kind != "f32":
        judge(base, GOLDEN[f"{kind}/logits"], GOLDEN["following"], sums := Sums())
    row = sums.row()
    told = printed(kind)
    assert len(told) == (1 if kind == "f32" else 8)
    for name, (factor, figure, error) in told.items():
        assert digits(factor * row[name], figure) == figure, name
        if error is not None:
            assert digits(factor * row[f"{name}_error"], error) == error, name


def test_files_are_judged_at_the_positions_of_llama_perplexity(converted, tmp_path: Path):
    """Chunks, BOS and the runtime: its rounding differs from one processor to another, which figures of few positions feel."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    (tmp_path / "text.txt").write_text(CORPUS.read_text())
    base, q8_0 = (converted(str(GOLDEN["model"]), kind) for kind in ("f32", "q8_0"))
    found = measure(base, [q8_0], [tmp_path / "text.txt"], int(GOLDEN["context"]), int(GOLDEN["chunks"]))
    for row, kind in zip(found, ("f32", "q8_0"), strict=True):
        for name, (factor, figure, _) in printed(kind).items():
            if name != "log_ratio":  # around 0
                assert factor * getattr(row, name) == pytest.approx(float(figure), rel=0.05), name
    assert found[0].perplexity == pytest.approx(1190.5116, rel=1e-4)


def test_a_base_beyond_its_steps():
    """All tokens alike, and one far below the rest."""
    flat = np.zeros((1, 4), np.float32)
    np.testing.assert_allclose(judge_base(flat, np.array([0]), Sums()), -np.log(4), rtol=1e-6)
    far = judge_base(np.array([[0, 0, -100, -5]], np.float32), np.array([0]), Sums())
    np.testing.assert_allclose(far, [[-0.6965, -0.6965, -16.6965, -5.6965]], atol=5e-4)


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
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(files[1].read_bytes().replace(b"llama.attention.head_count", b"llama.attention.hexd_count"))
    with pytest.raises(GgufxError, match="does not load it") as refused:
        measure(files[0], [files[1], damaged], [text], 64)
    assert str(refused.value.file) == str(damaged)
    text.write_text("a few words")
    with pytest.raises(GgufxError, match="at least 128 are needed"):
        measure(files[0], files[1:], [text], 64)
