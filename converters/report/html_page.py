"""What ggufx's HTML pages are made of: no network, no other file, every text escaped.

The policy in a page's head allows its own style and script, by their hashes, and nothing else; so nothing that a
model's file says can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..io.files import printable

STEPS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.2, 0.4)  # relative RMSE from which the heat map's next shade is taken

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
svg rect,svg circle{fill:var(--bar)}svg text{fill:var(--ink);font-size:12px}svg line{stroke:var(--line)}
input{font:inherit;padding:.3rem .6rem;border:1px solid var(--line);border-radius:.3rem;
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


def html_page(verb: str, about: str, sections: Iterable[str], script: str = _SCRIPT) -> str:
    """A page of `ggufx VERB`; sections are HTML. `script`: what a `tensor_table` needs; empty without one."""
    policy = (f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(script)}; "
              "base-uri 'none'; form-action 'none'")
    return "\n".join([
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">',
        f"<title>ggufx {verb}: {text(about)}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>ggufx {verb}</h1>",
        *sections, f"<script>{script}</script>\n</body>\n</html>\n"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def text(x: object, limit: int = 300) -> str:
    """Any text, safe inside an element or a quoted attribute."""
    return escape(printable(str(x), limit), quote=True)


# ------------------------------------------------------------------------------------------------------ the heat map


def split_name(name: str) -> tuple[int | None, str]:
    """Layer and kind of a tensor: `blk.3.attn_q.weight` is (3, "attn_q.weight"); numbers in the kind become `*`."""
    match = re.match(r"(?:[^.]+\.)*?(\d+)\.(.+)", name)
    layer, kind = (int(match[1]), match[2]) if match else (None, name)
    return layer, re.sub(r"(?<=\.)\d+(?=\.)", "*", kind)


def heat_map(cells: Mapping[tuple[int | None, str], str]) -> str:
    """Cells (`<td>`) by layer and kind, and those outside of layers."""
    layers = sorted({layer for layer, _ in cells if layer is not None})
    inside = list(dict.fromkeys(kind for layer, kind in cells if layer is not None))
    outside = [kind for layer, kind in cells if layer is None]
    parts = []
    for title, rows, columns in (("layer", layers, inside), ("", [None], outside)):
        if not columns or not rows:
            continue
        head = "".join(f'<th scope="col"><span>{text(k.removesuffix(".weight"), 60)}</span></th>' for k in columns)
        lines = "".join(
            f'<tr><th scope="row">{"" if row is None else row}</th>{"".join(cells.get((row, k), "<td></td>") for k in columns)}'
            "</tr>" for row in rows)
        parts.append(f'<div class="wide"><table class="heat"><thead><tr><th>{title}</th>{head}</tr></thead>'
                     f"<tbody>{lines}</tbody></table></div>")
    return "".join(parts)


def shade(relative: float) -> str:
    """The class of a cell with this relative RMSE."""
    return f"s{sum(relative >= step for step in STEPS)}"


def legend(more: str = "") -> str:
    """What the shades mean; `more`: HTML of further ones."""
    bounds = (0.0, *STEPS)
    shades = "".join(f'<span class="s{i}">{percent(x)}+</span>' for i, x in enumerate(bounds))
    return f'<div class="legend"><span class="same">0: the same values</span>{shades}{more}</div>'


def percent(x: float) -> str:
    return f"{100 * x:.3g}" if math.isfinite(x) else "∞"


# ---------------------------------------------------------------------------------------------------------- the table


def tensor_table(columns: Sequence[tuple[str, bool]], rows: Iterable[str]) -> str:
    """A table that is sorted and filtered in the page; columns by name, and whether they hold numbers."""
    head = "".join(f'<th scope="col"{" class=num" if number else ""}><button type="button">{text(name)}</button></th>'
                   for name, number in columns)
    return ('<h2>Tensors</h2><input id="filter" type="search" placeholder="filter" aria-label="filter tensors">'
            f'<div><table id="tensors"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def number(x: float, form: str, shown: str | None = None) -> str:
    """A cell that is sorted by its number."""
    shown = shown or (f"{x:{form}}" if math.isfinite(x) else "∞")
    return f'<td class="num" data-v="{x if math.isfinite(x) else 1e300:.6g}">{shown}</td>'
