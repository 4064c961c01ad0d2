"""Write the table of supported architectures into README.md, from the registry. With --check: fail if it is out of date."""

import sys
from pathlib import Path

from ggufx.converters.arch import BY_CLASS, SPECS, projectors
from ggufx.converters.calibrate.families import CARRIED
from ggufx.converters.rules.spec import ArchSpec

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- support table: scripts/support_table.py -->", "<!-- end of the support table -->"


def table() -> str:
    """One row per table of the registry."""
    classes, names = {c for spec in SPECS for c in spec.classes}, {spec.name for spec in SPECS}
    seeing = [name for name in projectors.BY_CLASS if "vision" in projectors.parts_of(name)]
    hearing = [name for name in projectors.BY_CLASS if "audio" in projectors.parts_of(name)]
    rows = [f"{len(classes)} classes, which are {len(names)} architectures in GGUF, each in all directions. Of {len(seeing)} "
            f"classes that see and {len(hearing)} that hear the whole model, with its projector (mmproj), both ways.", "",
            "| HF classes | GGUF architecture | vision | audio | imatrix | example |", "|---|---|---|---|---|---|"]
    for spec in SPECS:
        alone = not spec.whole and any(other.whole for name in spec.classes for other in BY_CLASS[name])  # of the same name
        rows.append(row(spec.classes, spec.name, spec.example, bool(spec.whole), alone, is_calibrated(spec)))
    others = [(spec.classes, spec.example) for spec in projectors.SPECS if not classes & {*spec.classes}]
    rows += [row(names, "", example, True) for names, example in others]
    return "\n".join(dict.fromkeys(rows))  # tables of one class that the columns do not tell apart are one row


def is_calibrated(spec: ArchSpec) -> bool:
    """Whether `ggufx imatrix` carries it."""
    return not spec.draft and any(name in CARRIED for name in (
        spec.whole.text.classes[:1] if spec.whole else spec.classes))


def row(classes: tuple[str, ...], name: str, example: str, whole: bool, alone: bool = False, calibrated: bool = False) -> str:
    """`whole`: a class that holds more than text; `alone`: one without its other parts."""
    parts = {part for cls in classes for part in projectors.parts_of(cls)} if not alone else set()
    cells = ["both ways" if part in parts else "" for part in ("vision", "audio")]
    left_out = " (text part)" if whole and not parts else ""
    listed = ", ".join(f"`{cls}`" for cls in classes)
    cells.append("yes" if calibrated else "")
    return f"| {listed}{left_out} | {f'`{name}`' if name else '(no text)'} | {' | '.join(cells)} | `{example}` |"


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
