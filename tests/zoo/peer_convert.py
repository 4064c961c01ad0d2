"""Runs llama.cpp's converter scripts with the pre-tokenizer named by us.

Usage: python peer_convert.py LLAMA_CPP. One JSON request per line on stdin ({"script", "pre", "arguments", "log", "built_in"}), the exit status
per line on stdout. Its own recognition hashes the ids of a real vocabulary, so it cannot know a tiny one;
nothing else is changed but sizes that a class has of its own (`built_in`: "Class.attribute" -> value). Each request runs in a fork: importing takes seconds, and the scripts keep state in their classes.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def main() -> None:
    root = Path(sys.argv[1])
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    import conversion
    import torch

    torch.set_num_threads(1)
    conversion.load_all_models()
    # the scripts compute shapes on the meta device, whose first use imports a thousand modules
    torch.stack([torch.empty(2, 2, device="meta")] * 2)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(conversion, root, request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(conversion, root: Path, request: dict) -> None:
    """Never returns: ends the forked process with the script's status."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 0
    try:
        conversion.TextModel.get_vocab_base_pre = lambda self, tokenizer: request["pre"]
        for name, value in request["built_in"].items():
            cls, attribute = name.split(".")
            (found,) = [one for one in _all(conversion.ModelBase) if one.__name__ == cls]
            assert hasattr(found, attribute)
            setattr(found, attribute, value)
        script = root / request["script"]
        sys.argv = [str(script), *request["arguments"]]
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _all(cls: type) -> set[type]:
    return {cls, *(one for sub in cls.__subclasses__() for one in _all(sub))}


if __name__ == "__main__":
    main()
