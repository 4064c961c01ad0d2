"""Write the table of supported architectures into README.md, from the registry. With --check: fail if it is out of date."""

import sys
from pathlib import Path

from ggufx.converters.arch import SPECS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- support table: scripts/support_table.py -->", "<!-- end of the support table -->"


def table() -> str:
    """One row per table of the registry."""
    classes, names = {c for spec in SPECS for c in spec.classes}, {spec.name for spec in SPECS}
    rows = [f"{len(classes)} classes, which are {len(names)} architectures in GGUF, each in all directions.", "",
            "| HF classes | GGUF architecture | example |", "|---|---|---|"]
    for spec in SPECS:
        listed = ", ".join(f"`{name}`" for name in spec.classes)
        rows.append(f"| {listed}{' (text part)' if spec.whole else ''} | `{spec.name}` | `{spec.example}` |")
    return "\n".join(rows)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in sys.argv:
        sys.exit(text != wanted and "README.md: the support table is out of date; run scripts/support_table.py")
    README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
