"""Take models of the zoo through every check that their table must pass, and say what differs: for a table being written.

show     (only when asked for, and without a table) what is to be described: config.json, tensors, what llama.cpp makes of them
bytes    four output types against llama.cpp's converter (needs GGUFX_LLAMA_CPP; no golden digest)
own      a file of ggufx's comes back bit for bit: tensors, settings, tokenizer
foreign  a file without ggufx's keys comes back as a model with the same logits in transformers, loaded without a warning
logits   llama.cpp computes what transformers does
tokens   llama.cpp cuts hard texts as tokenizer.json does
lora     llama.cpp with an adapter on every weight computes what peft does

One line per check: yes, NO, or `-` where it cannot be asked. Exit status 1 after a NO. "ours" is ggufx, "theirs" llama.cpp.
"""

import argparse
import fnmatch
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]


def choose(patterns: list[str]) -> list[str]:
    """Names of the zoo: given, by pattern, by HF class, or by GGUF architecture."""
    from ggufx.converters.arch import BY_CLASS
    from zoo.models import MODELS

    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name, row in MODELS.items() if fnmatch.fnmatchcase(name, pattern) or row.cls == pattern]
        found = found or [n for n, row in MODELS.items() if row.cls in BY_CLASS and BY_CLASS[row.cls][0].name == pattern]
        if not found:
            sys.exit(f"no model {pattern} in tests/zoo/models")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name, 'pattern*', HF class or GGUF architecture")
    parser.add_argument("--only", metavar="CHECK,...", help="of: show, bytes, own, foreign, logits, tokens, lora")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="weights of this seed (default 0: the golden ones)")
    parser.add_argument("--lines", type=int, default=30, metavar="N", help="of details per check at most (default 30)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the models and all files that were made in FOLDER")
    options = parser.parse_args()

    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "tests"))
    from zoo import trial

    checks = options.only.split(",") if options.only else list(trial.CHECKS)
    if unknown := set(checks) - {"show", *trial.CHECKS}:
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    names = choose(options.models)
    if checks == ["show"]:
        with tempfile.TemporaryDirectory() as temporary:
            for name in names:
                print(f"== {name}\n" + "\n".join(trial.show(name, Path(temporary) / name)), flush=True)
        return
    checks = [check for check in checks if check != "show"]
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            work = (options.keep or Path(temporary)) / f"{name}-{options.seed}"
            failed += [f"{name} {check}" for check in try_model(name, work, checks, options)]
    if len(names) > 1:
        print(f"{len(names)} models, {len(names) * len(checks)} checks; NO: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


def try_model(name: str, work: Path, checks: list[str], options: argparse.Namespace) -> list[str]:
    """The checks that failed, each printed as it comes."""
    from zoo import peers, trial

    def tell(check: str, word: str, figure: str, why: tuple[str, ...], since: float) -> None:
        print(f"{name:<18} {check:<8} {word:<4} {figure:<24} {time.monotonic() - since:5.1f} s", flush=True)
        for line in why[:options.lines]:
            print(f"    {line}")
        if len(why) > options.lines:
            print(f"    .. and {len(why) - options.lines} more lines (--lines)")

    start = time.monotonic()
    try:
        loop = trial.Loop(name, options.seed, work)
    except Exception as error:
        tell("build", "NO", "failed", tuple(trial.describe(error)), start)
        return ["build"]
    failed: list[str] = []
    before: tuple[str, ...] = ()
    try:
        for check in checks:
            start = time.monotonic()
            answer = trial.ask(check, loop)
            word = "-" if answer.ok and answer.figure == "-" else "yes" if answer.ok else "NO"
            why = ("the same as above",) if answer.why == before and not answer.ok else answer.why
            tell(check, word, "" if word == "-" else answer.figure, why, start)
            failed += [] if answer.ok else [check]
            before = answer.why
    finally:
        peers.forget() if options.keep else loop.__exit__()
    return failed


if __name__ == "__main__":
    main()
