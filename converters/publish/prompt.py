"""The prompt format of a model, shown by rendering its chat template: in a process of its own, within limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ..errors import UnsupportedError
from ..io.files import printable

CPU_SECONDS = 3
WALL_SECONDS = 120.0  # for a process that waits instead of computing
MEMORY = 512 << 20  # bytes
SYSTEM, USER = "{system_prompt}", "{prompt}"


def prompt_format(template: str, tokens: dict[str, str]) -> str:
    """What the model reads of a system prompt and a first question, with SYSTEM and USER in their places.

    `tokens`: texts of special tokens by their names in templates (`bos_token` ..). A template that knows no system prompt
    is shown without. UnsupportedError where it cannot be rendered, or where the question is not in what it gives.
    """
    user = {"role": "user", "content": USER}
    common = {**tokens, "add_generation_prompt": True, "tools": None, "documents": None}
    answer = _answer({"template": template, "wanted": USER, "seconds": CPU_SECONDS, "bytes": MEMORY, "attempts": [
        {**common, "messages": messages} for messages in ([{"role": "system", "content": SYSTEM}, user], [user])]})
    if "text" not in answer:
        raise UnsupportedError(f"the chat template cannot be shown: {printable(answer['error'], 200)}")
    return answer["text"]


def _answer(asked: dict[str, object]) -> dict[str, str]:
    command = [sys.executable, "-P", str(Path(__file__).with_name("sandbox.py"))]  # -P: nothing beside it is a module
    try:
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, encoding="utf-8",
                              timeout=WALL_SECONDS, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        pass
    except OSError as error:
        return {"error": f"no process could be started: {error.strerror}"}
    return {"error": "it takes too much time or memory"}
