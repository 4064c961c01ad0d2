"""llama.cpp's converter and runtime as judges of tokenizers, each in a process of its own.

The converter is in the folder that GGUFX_LLAMA_CPP names; the runtime is found as for `zoo.peers`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.peers import _library, missing_converter, missing_runtime

__all__ = ["converter_key_values", "missing_converter", "missing_runtime", "runtime_ids"]
_HERE = Path(__file__).parent


def _run(script: str, request: Any, *arguments: str) -> Any:
    paths = [str(_HERE.parent), *sys.path]
    done = subprocess.run([sys.executable, str(_HERE / script), *arguments], input=json.dumps(request), text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def converter_key_values(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each {"folder", "hf_class", "config", "pre"} (None: by its hash list): {key: [type, value]}, or {"error"}."""
    return _run("converter_worker.py", list(cases))


def runtime_ids(requests: Sequence[dict[str, Any]]) -> list[list[list[int]]]:
    """For each {"path", "texts", "special", "add"}: the ids of each text; `path` may be a vocabulary only."""
    library = _library()
    assert library is not None
    return _run("runtime_worker.py", list(requests), *library)
