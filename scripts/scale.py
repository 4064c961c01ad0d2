"""docs/scale.md's table: what a checkpoint of a trillion parameters costs on many machines, from measured unit costs.

`scripts/scale.py` prints it, `--write` renews it in docs/scale.md; `--parameters`, `--nodes`, `--cores`, `--network` make
others. Nothing of it was run at that size: it is arithmetic on `converters/run/shares.py` (nanoseconds a number on one core).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ggufx.converters.run.engines.ray import CPUS
from ggufx.converters.run.on_ray import SECONDS, SHARDS_AT_ONCE
from ggufx.converters.run.open_files import FAR_READ
from ggufx.converters.run.shares import MOVING, QUANTIZING
from ggufx.converters.sources.hub_ranges import SAFETENSORS_READ
from ggufx.quant import formats

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- scripts/scale.py -->\n", "<!-- end -->\n"
TYPES = (("BF16", False), ("Q8_0", False), ("Q4_K", False), ("Q4_K", True), ("IQ3_XXS", True), ("IQ2_XS", True))
SHARD = 5 * 10**9  # bytes of a safetensors file of the source
TASK_MEMORY = 1 << 30  # the default of --max-memory
COPIED = ("BF16",)


def bits(kind: str) -> float:
    """Bits a number takes."""
    return formats.FORMATS[kind].bits_per_weight


def row(kind: str, weighted: bool, parameters: float, nodes: int, cores: int, network: float) -> list[str]:
    """`network`: bytes a second of each node, both ways together; the source is BF16."""
    read, written = 2 * parameters, bits(kind) / 8 * parameters
    quantizing = 0.0 if kind in COPIED else QUANTIZING.get(kind, (0.4, 0.4))[weighted]
    work = (quantizing * parameters + MOVING * (read + written)) * 1e-9 / (nodes * cores)
    moved = (read + written) / (nodes * network)
    # The commit, on one node, reads what was written once, for receipts and SHA-256; of copies the source as well.
    commit = (written + (read if kind in COPIED else 0)) / network
    total = max(work, moved) + commit
    shards = max(SHARDS_AT_ONCE * nodes * cores // CPUS, round(work * nodes * cores / SECONDS / CPUS))
    return [f"{kind}{' with weights' if weighted else ''}", f"{written / 1e12:.2f}", minutes(work), minutes(moved),
            minutes(commit), minutes(total), f"{shards:,}", f"{max(work, moved) * nodes / shards:.0f}"]


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def table(parameters: float, nodes: int, cores: int, network: float) -> str:
    columns = ["type", "written, TB", "computing, min", "network, min", "commit, min", "in all, min", "shards",
               "a lost shard, node seconds"]
    rows = [row(*kind, parameters, nodes, cores, network) for kind in TYPES]
    files = -(-int(2 * parameters) // SHARD)
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|", *("| " + " | ".join(r) + " |" for r in rows)]
    return "\n".join([
        f"{parameters:.3g} parameters in BF16 ({2 * parameters / 1e12:.1f} TB, {files:,} files), {nodes} nodes of {cores} "
        f"cores, {network / 1e9:g} GB/s each:", "", *lines, "",
        f"Memory of a node: {cores // CPUS} tasks of {TASK_MEMORY >> 30} GiB, and the plan. Requests to plan: {files:,} "
        f"headers ({files * SAFETENSORS_READ / 1e6:.0f} MB); to read all of the source from an object store: "
        f"{int(2 * parameters) // FAR_READ:,} ranges of {FAR_READ >> 20} MiB for weights that are copied; "
        "a tile of a weight that is quantized is one range.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=float, default=1e12)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--network", type=float, default=1.25e9, help="bytes a second of each node")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    made = table(given.parameters, given.nodes, given.cores, given.network)
    if not given.write:
        print(made)
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(re.sub(f"(?<={BEGIN}).*(?={END})", lambda _: made, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
