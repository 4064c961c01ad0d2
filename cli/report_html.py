"""A report of two compared checkpoints as one HTML page: no network, no other file, every text escaped.

The policy in its head allows this page's own style and script, by their hashes, and nothing else; so nothing that a
model's file says can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from ..converters.io.files import printable
from ..converters.verify.tensors import Pair, Verdict, bits_per_weight
from ..converters.verify.verify import Compared, Report
from .output import human_bytes

STEPS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.2, 0.4)  # relative RMSE from which the heat map's next shade is taken
CLASSES = {Verdict.IDENTICAL: "same", Verdict.EQUAL: "same", Verdict.CLOSE: "close", Verdict.DIFFERENT: "bad",
           Verdict.SHAPE: "bad", Verdict.ONLY_A: "gone", Verdict.ONLY_B: "gone"}
MARKS = {"bad": "✕", "gone": "∅"}
BAR = 120  # pixels of the longest bar

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5c6570;--line:#d9dee4;--paper:#fff;--band:#f5f7f9;--good:#14713c;
--bad:#b3261e;--bad-paper:#fbe3e1;--same:#e6f2ea;--bar:#3b73b9;
--s0:#edf3fb;--s1:#d9e6f6;--s2:#bfd5ef;--s3:#9dbfe5;--s4:#76a3d6;--s5:#4f85c2;--s6:#3267a5;--s7:#1f4a80}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4b0;--line:#333b45;--paper:#14181d;--band:#1b2128;
--good:#5fce8f;--bad:#ff8a80;--bad-paper:#4a1d1b;--same:#16301f;--bar:#6aa0e0;
--s0:#182331;--s1:#1c2f45;--s2:#203c5c;--s3:#264b75;--s4:#2f5f94;--s5:#4179b5;--s6:#6397cf;--s7:#93bbe6}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.5rem 4rem;max-width:80rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0}.soft{color:var(--soft)}.verdict{font-weight:600}.yes{color:var(--good)}.no{color:var(--bad)}
code,.num,td.num{font-variant-numeric:tabular-nums}code{font:13px ui-monospace,Menlo,Consolas,monospace;word-break:break-all;
white-space:pre-wrap}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem;margin:1.2rem 0}
.side{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;background:var(--band);min-width:0}
.side h2{margin:0 0 .3rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.87rem}th,td{padding:.25rem .6rem;text-align:left;border-bottom:1px solid var(--line)}
td.num,th.num{text-align:right}thead th{white-space:nowrap;background:var(--paper)}
#tensors{width:100%}#tensors td{white-space:nowrap}#tensors td:first-child{font:13px ui-monospace,Menlo,Consolas,monospace}
#tensors td:last-child{white-space:normal;min-width:12rem}
#tensors thead th{position:sticky;top:0}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--bar)}
th[aria-sort=ascending] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
.heat{border-collapse:separate;border-spacing:2px}.heat th{border:0;font-weight:500;font-size:.78rem;padding:.1rem .3rem}
.heat thead th{vertical-align:bottom;padding-top:1rem}
.heat thead span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}
.heat td{border:0;border-radius:3px;min-width:2.9rem;padding:.15rem .3rem;text-align:center;font-size:.75rem;
font-variant-numeric:tabular-nums}
.same{background:var(--same);color:var(--soft)}.s0{background:var(--s0)}.s1{background:var(--s1)}.s2{background:var(--s2)}
.s3{background:var(--s3)}.s4{background:var(--s4)}.s5{background:var(--s5);color:#fff}.s6{background:var(--s6);color:#fff}
.s7{background:var(--s7);color:#fff}
@media(prefers-color-scheme:dark){.s6,.s7{color:#0c1014}}
.bad,.gone{background:var(--bad-paper);color:var(--bad);font-weight:600}tr.bad,tr.gone{font-weight:400}
.legend{display:flex;flex-wrap:wrap;gap:.4rem;font-size:.78rem;margin:.5rem 0}
.legend span{padding:.1rem .5rem;border-radius:3px}
svg rect{fill:var(--bar)}input{font:inherit;padding:.3rem .6rem;border:1px solid var(--line);border-radius:.3rem;
background:var(--paper);color:var(--ink);width:18rem;margin-bottom:.6rem}
"""

_SCRIPT = """
const table = document.getElementById("tensors"), body = table.tBodies[0];
const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;
table.tHead.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const down = head.getAttribute("aria-sort") !== "descending";
  const number = head.classList.contains("num"), column = head.cellIndex, sign = down ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [number ? Number(value(row, column)) : value(row, column), row]);
  rows.sort(([x], [y]) => sign * (number ? x - y || 0 : x.localeCompare(y, "en", {numeric: true})));
  body.append(...rows.map(([, row]) => row));
});
document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
});
"""


def page(report: Report) -> str:
    """The page, as text to be stored in UTF-8."""
    policy = (f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
              "base-uri 'none'; form-action 'none'")
    kind, said = ("yes", "same") if report.same else ("no", "different")
    counts = f"{report.summary}: " + ", ".join(f"{n} {v}" for v, n in report.verdicts.items())
    return "\n".join([
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">',
        f"<title>ggufx verify: {_text(report.a.path.name)} and {_text(report.b.path.name)}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>ggufx verify</h1>",
        f'<p class="verdict {kind}" id="verdict">{said}</p>',
        f'<p class="soft">{counts} &middot; {report.seconds:.1f} s</p>',
        f'<div class="sides">{_side("A", report.a)}{_side("B", report.b)}</div>',
        _heat(report.pairs), _types(report.a, report.b), _settings(report), _probes(report), _notes(report.notes),
        _tensors(report), f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(x: object, limit: int = 300) -> str:
    """Any text, safe inside an element or a quoted attribute."""
    return escape(printable(str(x), limit), quote=True)


def _side(name: str, side: Compared) -> str:
    files = "".join(f'<p class="soft"><code>{_text(f.path.name)}</code> {human_bytes(f.size)}'
                    + (f"<br><code>sha256 {f.sha256}</code></p>" if f.sha256 else "</p>") for f in side.files)
    return f'<section class="side"><h2>{name}: {_text(side.form)}</h2><p><code>{_text(side.path)}</code></p>{files}</section>'


# ------------------------------------------------------------------------------------------------------ the heat map


def split_name(name: str) -> tuple[int | None, str]:
    """Layer and kind of a tensor: `blk.3.attn_q.weight` is (3, "attn_q.weight"); numbers in the kind become `*`."""
    match = re.match(r"(?:[^.]+\.)*?(\d+)\.(.+)", name)
    layer, kind = (int(match[1]), match[2]) if match else (None, name)
    return layer, re.sub(r"(?<=\.)\d+(?=\.)", "*", kind)


def _heat(pairs: Sequence[Pair]) -> str:
    """Error by layer and kind; where a cell stands for several tensors, the worst of them."""
    cells: dict[tuple[int | None, str], list[Pair]] = {}
    for pair in pairs:
        cells.setdefault(split_name(pair.name), []).append(pair)
    layers = sorted({layer for layer, _ in cells if layer is not None})
    inside = list(dict.fromkeys(kind for layer, kind in cells if layer is not None))
    outside = [kind for layer, kind in cells if layer is None]
    parts = ['<h2>Error by layer and kind</h2><p class="soft">Relative RMSE in percent: RMSE over RMS.</p>', _legend()]
    for title, rows, columns in (("layer", layers, inside), ("", [None], outside)):
        if not columns or not rows:
            continue
        head = "".join(f'<th scope="col"><span>{_text(k.removesuffix(".weight"), 60)}</span></th>' for k in columns)
        lines = "".join(
            f'<tr><th scope="row">{"" if row is None else row}</th>{"".join(_cell(cells.get((row, k))) for k in columns)}</tr>'
            for row in rows)
        parts.append(f'<div class="wide"><table class="heat"><thead><tr><th>{title}</th>{head}</tr></thead>'
                     f"<tbody>{lines}</tbody></table></div>")
    return "".join(parts)


def _cell(pairs: list[Pair] | None) -> str:
    if not pairs:
        return "<td></td>"
    worst = max(pairs, key=lambda p: (not p.verdict.same, p.figures.relative if p.figures else 0.0))
    kind = CLASSES[worst.verdict]
    text = MARKS.get(kind, "0")
    if worst.verdict in (Verdict.CLOSE, Verdict.DIFFERENT) and worst.figures:
        text = f"{MARKS.get(kind, '')}{_percent(worst.figures.relative)}"
        kind = kind if kind == "bad" else shade(worst.figures.relative)
    types = "/".join(dict.fromkeys(t.type for t in (worst.a, worst.b) if t is not None))
    return f'<td class="{kind}" title="{_text(worst.name)} {_text(types)}: {worst.verdict} {_text(worst.detail)}">{text}</td>'


def shade(relative: float) -> str:
    """The class of a cell with this relative RMSE."""
    return f"s{sum(relative >= step for step in STEPS)}"


def _legend() -> str:
    bounds = (0.0, *STEPS)
    shades = "".join(f'<span class="s{i}">{_percent(x)}+</span>' for i, x in enumerate(bounds))
    return (f'<div class="legend"><span class="same">0: the same values</span>{shades}<span class="bad">✕ different</span>'
            '<span class="gone">∅ on one side only</span></div>')


def _percent(x: float) -> str:
    return f"{100 * x:.3g}" if math.isfinite(x) else "∞"


# --------------------------------------------------------------------------------------------------------- the tables


def _types(a: Compared, b: Compared) -> str:
    longest = max((size for side in (a, b) for _, size in side.types.values()), default=0) or 1
    rows = []
    for kind in dict.fromkeys((*a.types, *b.types)):
        cells = []
        for side in (a, b):
            count, size = side.types.get(kind, (0, 0))
            bar = f'<svg width="{BAR}" height="10" role="img"><rect width="{BAR * size / longest:.1f}" height="10"/></svg>'
            shown = (count, human_bytes(size)) if count else ("", "")
            cells.append(f'<td class="num">{shown[0]}</td><td class="num">{shown[1]}</td><td>{bar}</td>')
        rows.append(f"<tr><td>{_text(kind)}</td>{''.join(cells)}</tr>")
    totals = "".join(f'<td class="num">{sum(n for n, _ in s.types.values())}</td>'
                     f'<td class="num">{human_bytes(sum(size for _, size in s.types.values()))}</td><td></td>' for s in (a, b))
    return ('<h2>Types and sizes</h2><div class="wide"><table><thead><tr><th>type</th><th class="num">A</th><th class="num">'
            'size</th><th></th><th class="num">B</th><th class="num">size</th><th></th></tr></thead><tbody>'
            f"{''.join(rows)}<tr><td>all</td>{totals}</tr></tbody></table></div>")


def _settings(report: Report) -> str:
    if not report.differences:
        return '<h2>Settings</h2><p class="soft">No key differs.</p>'
    rows = "".join(
        f'<tr{_row_class(d.counts)}><td>{_text(d.where)}</td><td><code>{_text(d.key)}</code></td><td><code>{_shown(d.a)}</code>'
        f'</td><td><code>{_shown(d.b)}</code></td><td>{"yes" if d.counts else "no"}</td></tr>' for d in report.differences)
    return ('<h2>Settings that differ</h2><div class="wide"><table><thead><tr><th>where</th><th>key</th><th>A</th><th>B</th>'
            f"<th>counts</th></tr></thead><tbody>{rows}</tbody></table></div>")


def _row_class(bad: bool) -> str:
    return ' class="bad"' if bad else ""


def _shown(value: str | None) -> str:
    return "&mdash;" if value is None else _text(value)


def _probes(report: Report) -> str:
    if report.probes is None:
        return ""
    rows = "".join(f"<tr>{''.join(f'<td><code>{_text(x)}</code></td>' for x in row)}</tr>"
                   for row in report.probes.different)
    table = ('<div class="wide"><table><thead><tr><th>text</th><th>A</th><th>B</th></tr></thead>'
             f"<tbody>{rows}</tbody></table></div>")
    said = f"{len(report.probes.different)} of {report.probes.texts} texts give other ids."
    return f'<h2>Tokenizer</h2><p class="soft">{said}</p>{table if rows else ""}'


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(n, 1000)}</li>" for n in notes)
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""


_COLUMNS = (("tensor", False), ("verdict", False), ("A", False), ("B", False), ("shape", False), ("bits/weight A", True),
            ("bits/weight B", True), ("RMSE", True), ("RMSE/RMS", True), ("max", True), ("SNR dB", True), ("", False))


def _tensors(report: Report) -> str:
    head = "".join(f'<th scope="col"{" class=num" if number else ""}><button type="button">{name}</button></th>'
                   for name, number in _COLUMNS)
    rows = "".join(_row(p) for p in report.worst())
    return ('<h2>Tensors</h2><input id="filter" type="search" placeholder="filter" aria-label="filter tensors">'
            f'<div><table id="tensors"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')


def _row(pair: Pair) -> str:
    present = next(t for t in (pair.a, pair.b) if t is not None)
    cells = [f"<td>{_text(pair.name)}</td><td>{pair.verdict}</td>"]
    cells += [f"<td>{_text(t.type) if t else '&mdash;'}</td>" for t in (pair.a, pair.b)]
    cells.append(f"<td>{'&times;'.join(map(str, present.shape))}</td>")
    cells += [_number(bits_per_weight(t), ".4g") if t else _number(-1, "", "&mdash;") for t in (pair.a, pair.b)]
    f = pair.figures
    cells += [_number(x, ".3g") if f else _number(-1, "", "&mdash;") for x in
              ((f.rmse, f.relative, f.max_abs) if f else (0, 0, 0))]
    cells.append(_number(f.snr_db, ".1f") if f else _number(-1, "", "&mdash;"))
    return f"<tr{_row_class(not pair.verdict.same)}>{''.join(cells)}<td>{_text(pair.detail)}</td></tr>\n"


def _number(x: float, form: str, text: str | None = None) -> str:
    shown = text or (f"{x:{form}}" if math.isfinite(x) else "∞")
    return f'<td class="num" data-v="{x if math.isfinite(x) else 1e300:.6g}">{shown}</td>'

