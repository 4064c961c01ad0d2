"""The only printer. Results go to stdout; progress, notes and errors to stderr; with --json one document on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..converters.errors import Failure, GgufxError

PLAIN_LINE_SECONDS = 10  # how often a log (no terminal) gets a line of progress


def human_bytes(size: float) -> str:
    """Decimal units, as disks and the Hub count: `1.23 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


class Output:
    """What a command says. `json_mode`: people's text goes to stderr and `document` to stdout."""

    def __init__(self, json_mode: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        from rich.console import Console

        self.json_mode, self.quiet, self.verbose = json_mode, quiet, verbose
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._out = self._err if json_mode else Console(highlight=False, soft_wrap=True)

    def line(self, text: str = "") -> None:
        """A line of the result."""
        if not self.quiet:
            self._out.print(text, markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
        """Rows of the result; numbers to the right. Without a terminal: aligned plain text, never cut."""
        if self.quiet:
            return
        texts = [[str(cell) for cell in row] for row in rows]
        numeric = [all(isinstance(row[i], (int, float)) for row in rows) and bool(rows) for i in range(len(columns))]
        if self._out.is_terminal:
            from rich.table import Table
            from rich.text import Text

            table = Table(title=title, title_justify="left", box=None, pad_edge=False)
            for name, right in zip(columns, numeric, strict=True):
                table.add_column(name, justify="right" if right else "left", overflow="fold")
            for row in texts:
                table.add_row(*map(Text, row))
            self._out.print(table)
            return
        widths = [max(len(r[i]) for r in [list(columns), *texts]) for i in range(len(columns))]
        if title:
            self.line(title)
        for row in [list(columns), *texts]:
            cells = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)]
            self.line("  ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Something lost, approximated or assumed."""
        if not self.quiet:
            self._err.print(f"note: {text}", style="yellow", markup=False)

    def info(self, text: str) -> None:
        """What is going on; for people only."""
        if not self.quiet:
            self._err.print(text, markup=False)

    def failure(self, what: GgufxError | Failure) -> None:
        """What failed, also under --quiet."""
        self._err.print(f"error: {what}", style="red", markup=False)

    def error(self, error: GgufxError) -> None:
        """The error that ends a command; with --json as a document as well."""
        self.failure(error)
        if self.json_mode:
            self.document({"ok": False, "error": error.to_json()})

    def document(self, data: dict[str, Any]) -> None:
        """The one JSON document of a command."""
        if self.json_mode:
            sys.stdout.write(json.dumps({"ok": True, **data}, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        """`progress(done, total, name)` for the converter: a bar on a terminal, plain lines in a log."""
        if self.quiet:
            yield lambda done, total, name: None
        elif self._err.is_terminal and not os.environ.get("CI"):
            with self._bar(title) as update:
                yield update
        else:
            yield self._plain(title)

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Say once that kernels are being compiled: a first run would look hung."""
        from ..quant.cpu import on_compile

        told: list[str] = []

        def tell(kernel: str) -> None:
            if not told:
                self.info("compiling kernels, once per machine (`ggufx warmup` does it ahead)")
            told.append(kernel)

        on_compile(tell)
        try:
            yield
        finally:
            on_compile(None)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                      TimeRemainingColumn(), console=self._err, transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total, name: bar.update(task, completed=done, total=total)

    def _plain(self, title: str) -> Callable[[int, int, str], None]:
        begun = last = time.monotonic()

        def update(done: int, total: int, name: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PLAIN_LINE_SECONDS:
                last = now
                rate = done / (now - begun)
                left = (total - done) / rate if rate else 0
                self.info(f"{title}: {human_bytes(done)} of {human_bytes(total)}, {human_bytes(rate)}/s, "
                          f"{left:.0f} s left")

        return update
