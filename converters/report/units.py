"""Numbers with units, for people."""

from __future__ import annotations


def human_bytes(size: float) -> str:
    """Decimal units, as disks and the Hub count: `1.23 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def human_count(count: float) -> str:
    """`7.24 B`, as sizes of models are told."""
    for unit in ("", "K", "M", "B"):
        if count < 1000:
            return f"{count:.3g} {unit}".rstrip()
        count /= 1000
    return f"{count:.3g} T"
