"""A report of two compared checkpoints as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..verify.tensors import Pair, Verdict, bits_per_weight
from ..verify.verify import Compared, Report
from .html_page import heat_map, html_page, legend, number, percent, shade, split_name, tensor_table, text
from .units import human_bytes

CLASSES = {Verdict.IDENTICAL: "same", Verdict.EQUAL: "same", Verdict.CLOSE: "close", Verdict.DIFFERENT: "bad",
           Verdict.SHAPE: "bad", Verdict.ONLY_A: "gone", Verdict.ONLY_B: "gone"}
MARKS = {"bad": "✕", "gone": "∅"}
BAR = 120  # pixels of the longest bar

def page(report: Report) -> str:
    """The page, as text to be stored in UTF-8."""
    kind, said = ("yes", "same") if report.same else ("no", "different")
    counts = f"{report.summary}: " + ", ".join(f"{n} {v}" for v, n in report.verdicts.items())
    return html_page("verify", f"{report.a.path.name} and {report.b.path.name}", [
        f'<p class="verdict {kind}" id="verdict">{said}</p>',
        f'<p class="soft">{counts} &middot; {report.seconds:.1f} s</p>',
        f'<div class="sides">{_side("A", report.a)}{_side("B", report.b)}</div>',
        _heat(report.pairs), _types(report.a, report.b), _settings(report), _probes(report), _notes(report.notes),
        _tensors(report)])


def _side(name: str, side: Compared) -> str:
    files = "".join(f'<p class="soft"><code>{text(f.path.name)}</code> {human_bytes(f.size)}'
                    + (f"<br><code>sha256 {f.sha256}</code></p>" if f.sha256 else "</p>") for f in side.files)
    return f'<section class="side"><h2>{name}: {text(side.form)}</h2><p><code>{text(side.path)}</code></p>{files}</section>'


# ------------------------------------------------------------------------------------------------------ the heat map


def _heat(pairs: Sequence[Pair]) -> str:
    """Error by layer and kind; where a cell stands for several tensors, the worst of them."""
    cells: dict[tuple[int | None, str], list[Pair]] = {}
    for pair in pairs:
        cells.setdefault(split_name(pair.name), []).append(pair)
    return ('<h2>Error by layer and kind</h2><p class="soft">Relative RMSE in percent: RMSE over RMS.</p>'
            + legend('<span class="bad">✕ different</span><span class="gone">∅ on one side only</span>')
            + heat_map({place: _cell(found) for place, found in cells.items()}))


def _cell(pairs: list[Pair]) -> str:
    worst = max(pairs, key=lambda p: (not p.verdict.same, p.figures.relative if p.figures else 0.0))
    kind = CLASSES[worst.verdict]
    shown = MARKS.get(kind, "0")
    if worst.verdict in (Verdict.CLOSE, Verdict.DIFFERENT) and worst.figures:
        shown = f"{MARKS.get(kind, '')}{percent(worst.figures.relative)}"
        kind = kind if kind == "bad" else shade(worst.figures.relative)
    types = "/".join(dict.fromkeys(t.type for t in (worst.a, worst.b) if t is not None))
    return f'<td class="{kind}" title="{text(worst.name)} {text(types)}: {worst.verdict} {text(worst.detail)}">{shown}</td>'



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
        rows.append(f"<tr><td>{text(kind)}</td>{''.join(cells)}</tr>")
    totals = "".join(f'<td class="num">{sum(n for n, _ in s.types.values())}</td>'
                     f'<td class="num">{human_bytes(sum(size for _, size in s.types.values()))}</td><td></td>' for s in (a, b))
    return ('<h2>Types and sizes</h2><div class="wide"><table><thead><tr><th>type</th><th class="num">A</th><th class="num">'
            'size</th><th></th><th class="num">B</th><th class="num">size</th><th></th></tr></thead><tbody>'
            f"{''.join(rows)}<tr><td>all</td>{totals}</tr></tbody></table></div>")


def _settings(report: Report) -> str:
    if not report.differences:
        return '<h2>Settings</h2><p class="soft">No key differs.</p>'
    rows = "".join(
        f'<tr{_row_class(d.counts)}><td>{text(d.where)}</td><td><code>{text(d.key)}</code></td><td><code>{_shown(d.a)}</code>'
        f'</td><td><code>{_shown(d.b)}</code></td><td>{"yes" if d.counts else "no"}</td></tr>' for d in report.differences)
    return ('<h2>Settings that differ</h2><div class="wide"><table><thead><tr><th>where</th><th>key</th><th>A</th><th>B</th>'
            f"<th>counts</th></tr></thead><tbody>{rows}</tbody></table></div>")


def _row_class(bad: bool) -> str:
    return ' class="bad"' if bad else ""


def _shown(value: str | None) -> str:
    return "&mdash;" if value is None else text(value)


def _probes(report: Report) -> str:
    if report.probes is None:
        return ""
    rows = "".join(f"<tr>{''.join(f'<td><code>{text(x)}</code></td>' for x in row)}</tr>"
                   for row in report.probes.different)
    table = ('<div class="wide"><table><thead><tr><th>text</th><th>A</th><th>B</th></tr></thead>'
             f"<tbody>{rows}</tbody></table></div>")
    said = f"{len(report.probes.different)} of {report.probes.texts} texts give other ids."
    return f'<h2>Tokenizer</h2><p class="soft">{said}</p>{table if rows else ""}'


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{text(n, 1000)}</li>" for n in notes)
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""


_COLUMNS = (("tensor", False), ("verdict", False), ("A", False), ("B", False), ("shape", False), ("bits/weight A", True),
            ("bits/weight B", True), ("RMSE", True), ("RMSE/RMS", True), ("max", True), ("SNR dB", True), ("", False))


def _tensors(report: Report) -> str:
    return tensor_table(_COLUMNS, (_row(p) for p in report.worst()))


def _row(pair: Pair) -> str:
    present = next(t for t in (pair.a, pair.b) if t is not None)
    cells = [f"<td>{text(pair.name)}</td><td>{pair.verdict}</td>"]
    cells += [f"<td>{text(t.type) if t else '&mdash;'}</td>" for t in (pair.a, pair.b)]
    cells.append(f"<td>{'&times;'.join(map(str, present.shape))}</td>")
    cells += [number(bits_per_weight(t), ".4g") if t else number(-1, "", "&mdash;") for t in (pair.a, pair.b)]
    f = pair.figures
    cells += [number(x, ".3g") if f else number(-1, "", "&mdash;") for x in
              ((f.rmse, f.relative, f.max_abs) if f else (0, 0, 0))]
    cells.append(number(f.snr_db, ".1f") if f else number(-1, "", "&mdash;"))
    return f"<tr{_row_class(not pair.verdict.same)}>{''.join(cells)}<td>{text(pair.detail)}</td></tr>\n"
