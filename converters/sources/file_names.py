"""Names that strangers gave files: which of them can be names here."""

from __future__ import annotations

import re

_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\..*)?")  # whatever stands behind a dot


def safe_name(name: object) -> bool:
    """Whether `name` stays below its folder, and can be a file's, on every system: relative, `/` between parts, no `..`, no odd
    character, no name of a device (Windows'), no dot or space at the end of a part (which Windows cuts off)."""
    return (isinstance(name, str) and name.isprintable() and not set(name) & set('\\:*?"<>|')
            and all(part and part[-1] not in ". " and not _DEVICE.fullmatch(part) for part in name.split("/")))
