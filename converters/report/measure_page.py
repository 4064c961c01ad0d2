"""What quantizing costs as one HTML page: size against divergence, then the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..measure.measure import Measured
from .html_page import html_page, number, text
from .units import human_bytes

WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 900, 420, 70, 40, 190, 16  # pixels of the picture, and what is left around the plot
_COLUMNS = ("size", "perplexity", "ln ratio", "divergence", "median", "99.9 %", "RMS Δp", "same top token")


def page(found: Sequence[Measured]) -> str:
    """The page, as text to be stored in UTF-8. `found`: the base, then the others."""
    head = "".join(f'<th class="num">{name}</th>' for name in _COLUMNS)
    return html_page("measure", found[0].path.name, [
        f'<p class="soft">{found[0].positions} positions; divergence in nats, from <code>{text(found[0].path.name)}</code>; '
        "ln ratio: the logarithm of the perplexity over its; "
        "&plusmn;: the standard error</p>", "<h2>Size and divergence</h2>", _plot(found[1:]),
        f'<h2>Figures</h2><div class="wide"><table><thead><tr><th>file</th>{head}</tr></thead>'
        f'<tbody>{"".join(map(_row, found))}</tbody></table></div>'], script="")


def _plot(files: Sequence[Measured]) -> str:
    """A point a file: how far right its size, how far up (in powers of ten) its divergence; lower left is better."""
    points = [(m.size, math.log10(m.divergence), m) for m in files if m.divergence > 0]
    if not points:
        return '<p class="soft">No file diverges from the base.</p>'
    most = 1.05 * max(size for size, _, _ in points)
    low, high = math.floor(min(y for _, y, _ in points)), math.floor(max(y for _, y, _ in points)) + 1

    def across(size: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * size / most, 1)

    def down(power: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - power) / (high - low), 1)

    parts = [f'<div class="wide"><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="size against divergence">']
    for tick in range(low, high + 1):
        y = down(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
                     f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{10.0**tick:g}</text>')
    for part in range(5):
        at = most * part / 4
        x = across(at)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                     f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{human_bytes(int(at))}</text>')
    for size, power, m in points:
        x, y = across(size), down(power)
        parts.append(f'<circle cx="{x}" cy="{y}" r="4"><title>{text(m.path.name)}: {human_bytes(m.size)}, {m.divergence:.4g}'
                     f'</title></circle><text x="{x + 8}" y="{y + 4}">{text(m.path.stem, 40)}</text>')
    return "".join([*parts, "</svg></div>"])


def _row(m: Measured) -> str:
    figures = ((m.size, human_bytes(m.size)), (m.perplexity, f"{m.perplexity:.4f} ± {m.perplexity_error:.4f}"),
               (m.log_ratio, f"{m.log_ratio:.6f} ± {m.log_ratio_error:.6f}"),
               (m.divergence, f"{m.divergence:.6f} ± {m.divergence_error:.6f}"),
               (m.divergence_median, f"{m.divergence_median:.6f}"), (m.divergence_999, f"{m.divergence_999:.6f}"),
               (m.rms_dp, f"{m.rms_dp:.3%} ± {m.rms_dp_error:.3%}"), (m.same_top, f"{m.same_top:.3%} ± {m.same_top_error:.3%}"))
    return f"<tr><td><code>{text(m.path.name)}</code></td>{''.join(number(x, '', shown) for x, shown in figures)}</tr>\n"
