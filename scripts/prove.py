"""Prove the round trip of every architecture on fresh random models, with transformers, peft and llama.cpp as judges.

Each model of tests/zoo goes HF -> GGUF -> HF. Per model: does an own file come back bit for bit; does a file without
ggufx's key-values come back as a model with the same logits; does llama.cpp compute what transformers does; do both cut
text into the same ids, before and after; does llama.cpp with a converted LoRA adapter compute what peft does; does that
adapter come back; are weights with an adapter merged into them peft's bit for bit. The weights depend on the seed alone. Exit
status 1 if an answer is no.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- proof: scripts/prove --readme -->", "<!-- end of the proof -->"
HEADS = {"bits": "own file back", "foreign": "foreign file back", "logits": "llama.cpp", "tokens": "same ids", "lora": "LoRA",
         "adapter": "adapter back", "merged": "merged"}
PACKAGES = ("ggufx", "transformers", "peft", "tokenizers", "torch", "xllamacpp")

Row = dict[str, Any]  # model, class, architecture, seed, and the answers by question


def prove(names: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """All answers, printed as they come."""
    from ggufx.converters.arch import BY_CLASS
    from zoo.models import MODELS
    from zoo.proof import answers

    rows = []
    print(f"{'model':<18} {'seed':>4}  " + "  ".join(f"{head:>18}" for head in HEADS.values()), flush=True)
    with tempfile.TemporaryDirectory() as work:
        for seed in seeds:
            for name in names:
                found = answers(name, seed, Path(work) / f"{name}-{seed}")
                print(f"{name:<18} {seed:>4}  " + "  ".join(f"{found[q].figure:>18}" for q in HEADS), flush=True)
                for question, answer in found.items():
                    if not answer.ok:
                        print(f"    {HEADS[question]}: {answer.figure}; {'; '.join(answer.why)}", flush=True)
                cls = MODELS[name].cls
                rows.append({"model": name, "class": cls, "architecture": BY_CLASS[cls][0].name, "seed": seed,
                             **{q: vars(answer) for q, answer in found.items()}})
    return rows


def conditions(rows: Sequence[Row]) -> dict[str, Any]:
    """When, with which versions, on how much."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seeds": sorted({row["seed"] for row in rows}), "models": len({row["model"] for row in rows}),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(), "machine": platform.machine(),
    }


def table(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """The README's text: a row per HF class, its models and seeds together."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    seeds = " and ".join(map(str, about["seeds"]))
    lines = [f"{about['date']}, seeds {seeds}, Python {about['python']} on {about['machine']}: {versions}.", "",
             f"| HF class | models | {' | '.join(HEADS.values())} |", "|---|--:" + "|--:" * len(HEADS) + "|"]
    for cls in dict.fromkeys(row["class"] for row in rows):
        own = [row for row in rows if row["class"] == cls]
        cells = [_together(question, [row[question] for row in own]) for question in HEADS]
        lines.append(f"| `{cls}` | {len({row['model'] for row in own})} | {' | '.join(cells)} |")
    known: dict[str, list[str]] = {}
    for row in rows:
        for why in (why for question in HEADS if row[question]["ok"] for why in row[question]["why"]):
            known.setdefault(why, []).append(row["class"])
    lines += ["", "What is known to be otherwise, and what LoRA is refused for by name:", ""]
    for why, found in known.items():
        classes = list(dict.fromkeys(found))
        more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
        lines.append(f"- {why} ({', '.join(f'`{cls}`' for cls in classes[:3])}{more})")
    return "\n".join(lines)


def _together(question: str, found: Sequence[dict[str, Any]]) -> str:
    """One cell of several answers: how many are yes, or the worst figure."""
    if not all(answer["ok"] for answer in found):
        return f"**{sum(not answer['ok'] for answer in found)} of {len(found)} fail**"
    sized = [answer for answer in found if answer["size"] is not None]
    without = f", {len(found) - len(sized)} n/a" if len(sized) < len(found) else ""
    if question in ("bits", "merged"):
        return f"{len(sized)} equal{without}"
    if question in ("foreign", "adapter"):
        equal = sum(answer["size"] == 0 for answer in sized)
        close = [answer["size"] for answer in sized if answer["size"]]
        return f"{equal} equal" + (f", {len(close)} within {max(close):.0e}" if close else "") + without
    if question == "tokens":
        found = [answer for answer in found if answer["figure"] != "-"]  # draft models have their target's
        counts = [answer["figure"].split("/") for answer in found]
        return " of ".join(str(sum(int(count[i]) for count in counts)) for i in (0, 1)) if found else "n/a"
    return ((f"{max(answer['size'] for answer in sized):.0e}" if sized else "") + without).removeprefix(", ")


def write_readme(text: str) -> None:
    """Put `text` between the markers."""
    whole = README.read_text(encoding="utf-8")
    before, rest = whole.split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], metavar="N", help="weights of these seeds (default 1)")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models of tests/zoo/models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all answers")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args()

    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "tests"))
    from transformers.utils import logging
    from zoo import peers
    from zoo.models import MODELS

    logging.set_verbosity_error()
    if reason := peers.missing_runtime():
        parser.error(f"llama.cpp is needed: {reason}")
    if unknown := set(options.models or ()) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    rows = prove(options.models or list(MODELS), options.seed)
    about = conditions(rows)
    failed = sum(not row[question]["ok"] for row in rows for question in HEADS)
    print(f"{len(rows) * len(HEADS) - failed} of {len(rows) * len(HEADS)} answers are yes")
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.readme:
        write_readme(table(rows, about))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
