"""The only printer. Results go to stdout; notes, errors and progress to stderr; with --json one document on stdout.

What strangers wrote (names, settings, templates) is printed through here alone, with what would steer a terminal as escapes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from ..converters.errors import Failure, GgufxError, escaped, told_failures
from ..converters.notes import SHOWN_NAMES, grouped
from ..converters.report.units import human_bytes, human_count
from .exit import ExitStatus

PLAIN_LINE_SECONDS = 10  # how often a log (no terminal) gets a line of progress


class Output:
    """What a command says.

    `json_mode`: the result is the document alone; stderr has notes, errors, and progress on a terminal.
    """

    def __init__(self, json_mode: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        from rich.console import Console

        self.json_mode, self.quiet, self.verbose = json_mode, quiet, verbose
        self._err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._out = Console(highlight=False, soft_wrap=True, emoji=False)
        self._silent = quiet or json_mode
        self._ascii = not str(getattr(sys.stdout, "encoding", None)).lower().startswith("utf")  # of a document

    def line(self, text: str = "") -> None:
        """A line of the result."""
        if not self._silent:
            self._out.print(escaped(text), markup=False)

    def value(self, data: Any) -> None:
        """One value for a script: a text byte for byte, anything else as JSON in a line. On a terminal what would steer it is
        escaped, as everywhere."""
        if self._silent:
            return
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=self._ascii) + "\n"
        if self._out.is_terminal:
            for line in text.split("\n"):
                self._out.print(escaped(line), markup=False)
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
        """Rows of the result; numbers to the right. Without a terminal: aligned plain text, never cut."""
        if self._silent:
            return
        texts = [[escaped(str(cell)) for cell in row] for row in rows]
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

    def notes(self, notes: Iterable[str]) -> None:
        """What is lost, approximated or assumed: a line of each kind, with its names where they are few or `verbose`."""
        if self.quiet:
            return
        shortened = False
        for note in grouped(notes):
            self._err.print(f"note: {escaped(note.told(self.verbose))}", style="yellow", markup=False)
            shortened |= len(note.names) > SHOWN_NAMES
        if shortened and not self.verbose:
            self.info("(--verbose and --json name them all)")

    def info(self, text: str) -> None:
        """What is going on; for people only."""
        if not self._silent:
            self._err.print(escaped(text), markup=False)

    def failures(self, failures: Sequence[Failure]) -> None:
        """Which of several outputs failed, also under --quiet."""
        if failures:
            self._print_error(told_failures(failures, self.verbose))

    def failed(self, subject: str, error: GgufxError) -> None:
        """Why one of several subjects failed, also under --quiet."""
        self._print_error(f"{subject}: {error.told(self.verbose)}")

    def error(self, error: GgufxError, status: ExitStatus) -> None:
        """The error that ends a command; with --json as a document as well."""
        self._print_error(error.told(self.verbose))
        self.document({"ok": False, "error": error.to_json(), "exit_code": int(status)})

    def _print_error(self, text: str) -> None:
        for line in f"error: {text}".split("\n"):  # the hint stands on a line of its own
            self._err.print(escaped(line), style="red", markup=False)

    def document(self, data: dict[str, Any]) -> None:
        """The one JSON document of a command. What is not printable is written as \\u escapes, which only strings can hold."""
        if self.json_mode:
            text = json.dumps({"ok": True, **data}, ensure_ascii=self._ascii, default=str)
            if not text.isprintable():
                text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    @contextmanager
    def progress(self, title: str, unit: Literal["bytes", "tokens"] = "bytes") -> Iterator[Callable[[int, int, str], None]]:
        """`progress(done, total, name)` for the converter, counted in `unit`: a bar on a terminal, plain lines in a log."""
        if not self.quiet and self._err.is_terminal and not os.environ.get("CI"):
            with self._bar(title, unit) as update:
                yield update
        else:
            yield self._plain(title, unit)

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
    def _bar(self, title: str, unit: str) -> Iterator[Callable[[int, int, str], None]]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        counted = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (TextColumn("{task.percentage:.0f}%"),
                                                                                      TextColumn("{task.fields[name]}"))
        with Progress(TextColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn(), console=self._err,
                      transient=True) as bar:
            task = bar.add_task(title, total=None, name="")
            yield lambda done, total, name: bar.update(task, completed=done, total=total, name=name)

    def _plain(self, title: str, unit: str) -> Callable[[int, int, str], None]:
        begun = last = time.monotonic()

        def update(done: int, total: int, name: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PLAIN_LINE_SECONDS:
                last = now
                rate = done / (now - begun)
                left = (total - done) / rate if rate else 0
                told = human_bytes if unit == "bytes" else lambda count: f"{human_count(count)} {unit}"
                self.info(f"{title}: {told(done)} of {told(total)}, {told(rate)}/s, {left:.0f} s left")

        return update
