"""What a process of its own does in tests: it gets its arguments pickled, by multiprocessing's `spawn`."""

from __future__ import annotations

import sys

from ggufx.converters.run.conversion import Conversion
from ggufx.converters.run.engines.threads import Threads
from ggufx.converters.run.journal import Receipt


def carried_out(conversion: Conversion) -> tuple[list[Receipt], list[str]]:
    """The receipts of a conversion, and the modules that it took."""
    return list(Threads(1).run(conversion)), [name for name in sys.modules if name.startswith("ggufx.")]
