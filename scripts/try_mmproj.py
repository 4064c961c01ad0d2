"""Take towers of the zoo through every check that their table must pass, and say what differs: for a table being written.

show     (only when asked for) the names of the checkpoint, and what llama.cpp makes of them
bytes    four output types against llama.cpp's converter (needs GGUFX_LLAMA_CPP; no golden digest)
own      a pair of ggufx's, text model and projector, comes back bit for bit: tensors, settings, processor files
foreign  a pair without ggufx's keys comes back with every tensor that the files hold bit for bit, as the same class
features what llama.cpp's mtmd makes of a picture or a sound is finite, and what transformers makes where the row says how

One line per check: yes, NO, or `-` where it cannot be asked. Exit status 1 after a NO. "ours" is ggufx, "theirs" llama.cpp.
"""

import argparse
import fnmatch
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("towers", nargs="+", metavar="TOWER", help="name, 'pattern*' or HF class")
    parser.add_argument("--only", metavar="CHECK,...")
    parser.add_argument("--lines", type=int, default=30, metavar="N", help="of details per check at most (default 30)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all files that were made in FOLDER")
    options = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "tests"))
    from zoo import tower_trial
    from zoo.towers import TOWERS

    names = [n for n, row in TOWERS.items() if any(fnmatch.fnmatchcase(n, p) or row.model.cls == p for p in options.towers)]
    if not names:
        sys.exit("no such tower in tests/zoo/towers")
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            work = (options.keep or Path(temporary)) / name
            work.mkdir(parents=True)
            trial = None
            for check in options.only.split(",") if options.only else tower_trial.CHECKS:
                start = time.monotonic()
                try:
                    trial = trial or tower_trial.Trial(TOWERS[name], work)
                    ok, figure, why = getattr(trial, check)()
                except Exception as error:
                    ours = type(error).__module__.startswith("ggufx") or type(error).__name__ == "PeerError"
                    ok, figure, why = False, "failed", f"{error}".splitlines() if ours else traceback.format_exc().splitlines()
                word = "NO" if not ok else "-" if figure == "-" else "yes"
                print(f"{name:<18} {check:<8} {word:<4} {figure:<24} {time.monotonic() - start:5.1f} s", flush=True)
                for line in why[:options.lines]:
                    print(f"    {line}")
                failed += [] if ok else [f"{name} {check}"]
    print(f"{len(names)} towers; NO: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
