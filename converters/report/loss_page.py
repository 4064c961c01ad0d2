"""What tensors lost by their types as one HTML page: each file by layer and kind, then all of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ..run.execute import Result
from ..run.losses import TensorLoss, file_loss
from .html_page import heat_map, html_page, legend, number, percent, shade, split_name, tensor_table, text
from .loss_report import by_file, worst
from .units import human_bytes

_COLUMNS = (("tensor", False), ("type", False), ("shape", False), ("bits/weight", True), ("error", True), ("RMSE/RMS", True),
            ("weighted", False), ("file", False))


def page(result: Result, source: str) -> str:
    """The page, as text to be stored in UTF-8."""
    files = by_file(result)
    totals = "".join(map(_total, files))
    return html_page("report", source, [
        f'<p class="soft">made of <code>{text(source)}</code></p>',
        '<div class="wide"><table><thead><tr><th>file</th><th class="num">tensors</th><th class="num">bits/weight</th>'
        f'<th class="num">error</th><th class="num">RMSE/RMS</th></tr></thead><tbody>{totals}</tbody></table></div>',
        '<p class="soft">Error: the sum of w (x - y)&sup2; over that of w x&sup2;, where x was stored as y; w is of the '
        "importance matrix where there is one, else 1. Of a file: of its tensors, each as often as it has numbers. It ranks "
        "types and tensors; what it costs in use, <code>ggufx measure</code> tells.</p>",
        "<h2>RMSE/RMS in percent, by layer and kind</h2>", legend(),
        *(f"<h2><code>{text(losses[0].file.name)}</code></h2>{_heat(losses)}" for losses in files),
        tensor_table(_COLUMNS, (_row(t) for losses in files for t in worst(losses)))])


def _total(losses: Sequence[TensorLoss]) -> str:
    total = file_loss(losses)
    return (f'<tr><td><code>{text(losses[0].file.name)}</code></td><td class="num">{human_bytes(total.nbytes)}</td>'
            f"{number(total.bits_per_weight, '.4g')}{number(total.error, '.3g')}{number(total.relative_rmse, '.3g')}</tr>")


def _heat(losses: Sequence[TensorLoss]) -> str:
    """Where a cell stands for several tensors, the worst of them."""
    cells: dict[tuple[int | None, str], TensorLoss] = {}
    for t in losses:
        there = cells.setdefault(split_name(t.name), t)
        if _rank(t) > _rank(there):
            cells[split_name(t.name)] = t
    return heat_map({place: _cell(t) for place, t in cells.items()})


def _rank(t: TensorLoss) -> float:
    return float("inf") if t.error is None else t.error


def _cell(t: TensorLoss) -> str:
    root = t.relative_rmse
    kind, shown = ("gone", "∅") if root is None else ("same", "0") if root == 0 else (shade(root), percent(root))
    return f'<td class="{kind}" title="{text(t.name)} {text(t.type)}: {t.bits_per_weight:.4g} bits per weight">{shown}</td>'


def _row(t: TensorLoss) -> str:
    error, root = (number(-1, "", "&mdash;") if x is None else number(x, ".3g") for x in (t.error, t.relative_rmse))
    return (f"<tr><td>{text(t.name)}</td><td>{text(t.type)}</td><td>{'&times;'.join(map(str, t.shape))}</td>"
            f"{number(t.bits_per_weight, '.4g')}{error}{root}<td>{'yes' if t.weighted else 'no'}</td>"
            f"<td>{text(t.file.name)}</td></tr>\n")
