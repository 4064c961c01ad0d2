"""Triton's interpreter in a process of its own: it must be asked for before Triton is imported, once for all.

`Interpreter(file)` calls the functions of a file there: pickled (name, arguments, keywords) go in, results come back.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


class Interpreter:
    """`interpreter.name(...)` calls the function `name` of a file; exceptions are raised here."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __getattr__(self, name: str):
        def call(*arguments, **keywords):
            pickle.dump((name, arguments, keywords), self._process.stdin)
            self._process.stdin.flush()
            fine, answer = pickle.load(self._process.stdout)
            if not fine:
                raise answer
            return answer

        return call

    def close(self) -> None:
        self._process.stdin.close()
        assert self._process.wait() == 0


def _only_once() -> None:
    """Triton looks for what there is to patch at each call of a function: half of all the time."""
    from triton.runtime import interpreter

    patched = set()

    def call(self, *arguments, **keywords):
        if id(self.fn.__globals__) not in patched:
            interpreter._patch_lang(self.fn)
            patched.add(id(self.fn.__globals__))
        return self.rewrite()(*arguments, **keywords)

    interpreter.InterpretedFunction.__call__ = call


def main(file: str) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    results, sys.stdout = sys.stdout.buffer, sys.stderr
    sys.path.insert(0, str(Path(__file__).parent))
    _only_once()
    spec = spec_from_file_location("interpreted", file)
    module = module_from_spec(spec)
    sys.modules["interpreted"] = module
    spec.loader.exec_module(module)
    while True:
        try:
            name, arguments, keywords = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, getattr(module, name)(*arguments, **keywords)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, results)
        results.flush()


if __name__ == "__main__":
    main(sys.argv[1])
