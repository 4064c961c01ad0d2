"""Write the benchmark figures into README.md, from benchmarks/results/. With --check: fail if they are out of date."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- benchmarks: scripts/benchmark_table.py -->", "<!-- end of the benchmarks -->"


def conversions() -> list[str]:
    found = json.loads((RESULTS / "convert.json").read_text())
    rows = [f"Whole conversions of a model of {found['parameters'] / 1e9:.2f} B parameters, {found['threads']} threads:", "",
            "| | ggufx | peer | times faster | peak memory ggufx / peer |", "|---|---|---|---|---|"]
    for task, row in found["results"].items():
        peer = next(who for who in row["seconds"] if who != "ggufx")
        memory = row["peak_anonymous_mb"]
        rows.append(f"| {task} | {row['seconds']['ggufx']:.1f} s | {peer} {row['seconds'][peer]:.1f} s | "
                    f"**{row['times_faster']:.1f}** | {memory['ggufx']} / {memory[peer]} MB |")
    return [*rows, "", f"({found['machine']['cpu']}, commit {found['commit']}; anonymous memory of the process.)"]


def many() -> list[str]:
    found = json.loads((RESULTS / "multi.json").read_text())
    rows = ["Many file types of one model, in one pass:", "",
            "| | types | one pass | one by one | llama.cpp | times faster than one by one / llama.cpp |",
            "|---|---|---|---|---|---|"]
    for task, counts in found["results"].items():
        for row in counts.values():
            s, faster = row["seconds"], row["times_faster_than"]
            rows.append(f"| {task} | {len(row['types'])} | {s['one pass']:.1f} s | {s['one by one']:.1f} s | "
                        f"{s['llama.cpp']:.1f} s | **{faster['one by one']:.1f}** / **{faster['llama.cpp']:.1f}** |")
    return [*rows, "", f"({found['source_bytes'] / 1e6:.0f} MB of bf16, {found['threads']} threads, commit {found['commit']}.)"]


def copies() -> list[str]:
    found = json.loads((RESULTS / "copy.json").read_text())
    rows = ["Conversions that change no byte of a tensor, with checksums, beside `cp` and a sync, and both with a SHA-256 "
            "(CPU seconds of all cores in brackets):", "",
            "| | ggufx | cp | cp, SHA-256 | times cp | times cp, SHA-256 |", "|---|---|---|---|---|---|"]
    for task, row in found["results"].items():
        peers = row["cp"], row["cp_and_sha256"]
        taken = " | ".join(f"{r['seconds']:.2f} s ({r['cpu']:.2f})" for r in (row, *peers))
        rows.append(f"| {task} | {taken} | " + " | ".join(f"**{r['times']:.2f}** ({r['times_cpu']:.1f})" for r in peers) + " |")
    machine = found["machine"]
    return [*rows, "", f"({found['source_bytes'] / 1e9:.1f} GB, {machine['cpus']} CPUs, the benchmark alone on them, "
            f"{machine['cpu']}, commit {found['commit']}. SHA-256 takes one core and a file's bytes in order: no less than "
            "what the second peer takes more than the first.)"]


def tensors() -> list[str]:
    found = json.loads((RESULTS / "tensors.json").read_text())
    counts = [f"{int(count):,}" for count in next(iter(found["results"].values()))]
    rows = ["Many tensors, each tiny: CPU seconds to plan, to print the plan, and for the whole call:", "",
            f"| tensors | {' | '.join(counts)} |", f"|---|{'---|' * len(counts)}"]
    for task, row in found["results"].items():
        cells = (f"{r['plan']:.2f} / {r['print']:.2f} / {r['all']:.2f}" for r in row.values())
        rows.append(f"| {task} | {' | '.join(cells)} |")
    return [*rows, "", f"({found['machine']['cpu']}, commit {found['commit']}.)"]


def kernels() -> list[str]:
    found = json.loads((RESULTS / "quantize.json").read_text())
    table: dict[str, dict[str, dict]] = {}
    for row in found["rows"]:
        kind = "weights" if row["weights"] else row["direction"]
        table.setdefault(row["format"], {})[kind] = row
    rows = ["Kernels, one thread, as a ratio to ggml's own in the same run (MB/s of float32 in brackets):", "",
            "| type | quantize | with importance weights | dequantize |", "|---|---|---|---|"]
    for name, kinds in table.items():
        cells = [f"{r['ggufx'] / r['ggml']:.1f} ({r['ggufx']:.0f})" if (r := kinds.get(k)) else ""
                 for k in ("quantize", "weights", "dequantize")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    versions = found["versions"]
    return [*rows, "", f"(ggml {versions['ggml']}, Numba {versions['numba']}, {', '.join(found['machine']['vectors'])}, "
            f"commit {found['commit']}; every byte equal.)"]


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    tables = [*conversions(), "", *many(), "", *copies(), "", *tensors(), "", *kernels()]
    wanted = "\n".join([f"{before}{BEGIN}", *tables, f"{END}{after}"])
    if "--check" in sys.argv:
        sys.exit(text != wanted and "README.md: the benchmarks are out of date; run scripts/benchmark_table.py")
    README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
